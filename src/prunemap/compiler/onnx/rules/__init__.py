"""How ONNX nodes are taken in: FAST_RULES first, for what has kernels of its own, then GENERAL_RULES, for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from prunemap.compiler.onnx.node import GeneralRule
from prunemap.compiler.onnx.rules.elementwise import ELEMENTWISE_RULES
from prunemap.compiler.onnx.rules.fast import FAST_RULES
from prunemap.compiler.onnx.rules.layers import LAYER_RULES
from prunemap.compiler.onnx.rules.movement import MOVEMENT_RULES
from prunemap.compiler.onnx.rules.pools import POOL_RULES
from prunemap.compiler.onnx.rules.recurrent import RECURRENT_RULES
from prunemap.compiler.onnx.rules.resize import RESIZE_RULES
from prunemap.compiler.onnx.rules.rows import ROW_RULES
from prunemap.errors import InternalError

GENERAL_RULES: Mapping[str, GeneralRule] = {
    **ELEMENTWISE_RULES,
    **LAYER_RULES,
    **MOVEMENT_RULES,
    **POOL_RULES,
    **RECURRENT_RULES,
    **RESIZE_RULES,
    **ROW_RULES,
}
ONNX_OPS = frozenset({*FAST_RULES, *GENERAL_RULES})
"""Every operator that can be taken in."""

_TABLES = (ELEMENTWISE_RULES, LAYER_RULES, MOVEMENT_RULES, POOL_RULES, RECURRENT_RULES, RESIZE_RULES, ROW_RULES)
if sum(map(len, _TABLES)) != len(GENERAL_RULES):
    raise InternalError("two general rules for one operator")

__all__ = ["FAST_RULES", "GENERAL_RULES", "ONNX_OPS"]
