"""Values only: frozen, validated, with a JSON round trip. Imports nothing of prunemap but the errors."""

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerKind, LayerSetting, LayerSpec
from prunemap.core.plan import ModelIdentity, Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.target import Target

__all__ = [
    "DENSE",
    "LatencyPoint",
    "LatencyTable",
    "LayerKind",
    "LayerSetting",
    "LayerSpec",
    "Machine",
    "ModelIdentity",
    "Plan",
    "PlanLayer",
    "SchemeSpec",
    "Target",
]
