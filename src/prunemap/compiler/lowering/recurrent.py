"""The step of a recurrent layer: its products are packed like linear layers, the time runs inside of the step."""

from __future__ import annotations

from prunemap.compiler.graph.ir import Array, Linear, Node, Recurrent
from prunemap.compiler.lowering.layout import dense_layout
from prunemap.compiler.lowering.linear import product_fields
from prunemap.compiler.lowering.program import NONE, LinearStep, Step, Tensor
from prunemap.compiler.lowering.program_general import RecurrentStep
from prunemap.compiler.lowering.state import Lowering

_LSTM, _GRU_RESET_AFTER, _GRU_RESET_BEFORE = range(3)


def recurrent_steps(low: Lowering, node: Node, given: Tensor, h: Tensor, c: Tensor | None = None) -> list[Step]:
    """Return the step; its state, h, c and the gates' sums, lies beside the tensors of the graph."""
    op = node.op
    assert isinstance(op, Recurrent)
    steps, items, _ = low.graph.shapes[node.inputs[0]]
    hidden = op.weight.shape[1]
    kind = _LSTM if op.kind == "lstm" else _GRU_RESET_AFTER if op.reset_after else _GRU_RESET_BEFORE
    has_second = kind in (_LSTM, _GRU_RESET_BEFORE)
    state = [_state(low, node, name, items, hidden) for name in ("h", "c")[: 1 + has_second]]
    gates = _state(low, node, "gates", items, len(op.weight))
    split = 2 * hidden if kind == _GRU_RESET_BEFORE else len(op.weight)
    product = _product(low, node, op.weight[:split], op.bias[:split], items, state[0], gates)
    candidate = product
    if kind == _GRU_RESET_BEFORE:
        candidate = _product(low, node, op.weight[split:], op.bias[split:], items, state[1], gates)
    stored = {id(each): each for each in (product, candidate)}.values()
    low.choose(node, product[0].full.name, op.weight, sum(count for _, count in stored))
    return [
        RecurrentStep(
            product=product[0],
            candidate=candidate[0],
            given=given,
            first_h=h,
            first_c=c,
            h=state[0],
            c=state[1] if has_second else None,
            gates=gates,
            out=Tensor(node.output),
            kind=kind,
            steps=steps,
            items=items,
            hidden=hidden,
            reverse=op.reverse,
            peepholes=NONE if op.peepholes is None else low.blob.add(op.peepholes),
        )
    ]


def _state(low: Lowering, node: Node, what: str, items: int, size: int) -> Tensor:
    """Ask for memory for one vector per item."""
    name = f"{node.output}\0{what}"  # no tensor of a model has such a name
    low.layouts.tensors[name] = dense_layout((items, size))
    low.state[name] = items
    return Tensor(name)


def _product(
    low: Lowering, node: Node, weight: Array, bias: Array, items: int, source: Tensor, gates: Tensor
) -> tuple[LinearStep, int]:
    fields, _, stored = product_fields(low, node, Linear(weight, bias), items, pitch=1)
    return LinearStep(in_=source, out=gates, residual=None, **fields), stored
