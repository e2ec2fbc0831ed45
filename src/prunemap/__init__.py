"""prunemap: the best-suited pruning scheme per layer, pruned, retrained and compiled to a faster native program.

The public names below are loaded when they are first used: importing prunemap imports neither torch nor onnx, and
``prunemap.load(...).run(...)`` needs only NumPy.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunemap.benchmarking.pruned_onnx import prune_onnx
    from prunemap.core.latency_table import LatencyTable
    from prunemap.core.plan import Plan
    from prunemap.core.scheme_spec import SchemeSpec
    from prunemap.datasets import load_dataset
    from prunemap.errors import UserError
    from prunemap.latency import profile_models as profile
    from prunemap.mapping import Budget
    from prunemap.mapping import map_model as map
    from prunemap.pruning import PruneConfig, Pruner, TrainConfig, export_onnx, prune, sensitivity, train
    from prunemap.runtime import Engine, load
    from prunemap.sources import bench, compile, inspect, verify
    from prunemap.sources import export_compiled as export

_HOMES = {
    "Budget": "prunemap.mapping:Budget",
    "Engine": "prunemap.runtime:Engine",
    "LatencyTable": "prunemap.core.latency_table:LatencyTable",
    "Plan": "prunemap.core.plan:Plan",
    "PruneConfig": "prunemap.pruning:PruneConfig",
    "Pruner": "prunemap.pruning:Pruner",
    "SchemeSpec": "prunemap.core.scheme_spec:SchemeSpec",
    "TrainConfig": "prunemap.pruning:TrainConfig",
    "UserError": "prunemap.errors:UserError",
    "bench": "prunemap.sources:bench",
    "compile": "prunemap.sources:compile",
    "export": "prunemap.sources:export_compiled",
    "export_onnx": "prunemap.pruning:export_onnx",
    "inspect": "prunemap.sources:inspect",
    "load": "prunemap.runtime:load",
    "load_dataset": "prunemap.datasets:load_dataset",
    "map": "prunemap.mapping:map_model",
    "profile": "prunemap.latency:profile_models",
    "prune": "prunemap.pruning:prune",
    "prune_onnx": "prunemap.benchmarking.pruned_onnx:prune_onnx",
    "sensitivity": "prunemap.pruning:sensitivity",
    "train": "prunemap.pruning:train",
    "verify": "prunemap.sources:verify",
}
__all__ = [
    "Budget",
    "Engine",
    "LatencyTable",
    "Plan",
    "PruneConfig",
    "Pruner",
    "SchemeSpec",
    "TrainConfig",
    "UserError",
    "bench",
    "compile",
    "export",
    "export_onnx",
    "inspect",
    "load",
    "load_dataset",
    "map",
    "profile",
    "prune",
    "prune_onnx",
    "sensitivity",
    "train",
    "verify",
]
__version__ = version("prunemap")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'prunemap' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return attrgetter(attribute)(import_module(module))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
