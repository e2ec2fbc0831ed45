"""RECURRENT_RULES: LSTM and GRU. Per direction a linear layer on all inputs at once, then the recurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prunemap.compiler.graph.ir import Array, Join, Linear, Recurrent
from prunemap.compiler.onnx.node import GeneralRule, NotTaken, OnnxNode, recurrent_names
from prunemap.compiler.onnx.rules.movement import taken_at, transposed

_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def _check(node: OnnxNode, directions: int, length: int) -> None:
    """Raise NotTaken for what no kernel does."""
    names = [each.decode().lower() for each in node.attributes.get("activations", ())]
    usual = [each.lower() for each in _ACTIVATIONS[node.proto.op_type]] * directions
    if names and names != usual:
        raise NotTaken(f"its activations are {', '.join(names)}; supported are {', '.join(usual)}")
    if "clip" in node.attributes or node.attributes.get("input_forget", 0):
        raise NotTaken("clip and input_forget are not supported")
    if node.has(4) and (node.constant(4, "sequence_lens") != length).any():
        raise NotTaken("sequences of different lengths are not supported")


def _direction_of(node: OnnxNode) -> tuple[bool, ...]:
    name = node.attributes.get("direction", b"forward").decode()
    if name not in _DIRECTIONS:
        raise NotTaken(f"its direction is {name!r}")
    return _DIRECTIONS[name]


def _biases(node: OnnxNode, direction: int, rows: int) -> tuple[Array, Array]:
    """Return those of the inputs and of h."""
    if not node.has(3):
        return np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    both = node.floats(3, "B")[direction]
    if both.shape != (2 * rows,):
        raise NotTaken(f"its B has shape {list(node.shape(3))} for {rows} rows of gates")
    return both[:rows], both[rows:]


def _first_state(node: OnnxNode, index: int, direction: int, shape: tuple[int, int]) -> str:
    """Return the state (B, H) before the first step of time."""
    if not node.has(index):
        return node.build.constant(np.zeros(shape, np.float32))
    state = node.tensor(index)
    if node.attributes.get("layout", 0):
        state = transposed(node, state, (1, 0, 2))
    return node.build.reshape(taken_at(node, state, {0: np.arange(direction, direction + 1)}), shape)


def _one_direction(node: OnnxNode, x: str, direction: int, reverse: bool) -> str:
    """Return all states of one direction, (T, B, H), or (T, B, 2·H) for an LSTM."""
    build, is_lstm = node.build, node.proto.op_type == "LSTM"
    weight, recurrent = (node.floats(i, what)[direction] for i, what in ((1, "W"), (2, "R")))
    (steps, batch, inputs), (rows, hidden) = build.shapes[x], recurrent.shape
    if weight.shape != (rows, inputs) or rows != (4 if is_lstm else 3) * hidden:
        raise NotTaken(f"its W {list(weight.shape)} and R {list(recurrent.shape)} do not fit {inputs} inputs")
    of_input, of_state = _biases(node, direction, rows)
    reset_after = bool(node.attributes.get("linear_before_reset", 0))
    alone = slice(0 if is_lstm else 2 * hidden, 0 if is_lstm else rows)  # what must be added behind the product
    joint = of_input + of_state
    joint[alone] = of_input[alone]
    behind = np.zeros(rows, np.float32)
    behind[alone] = of_state[alone]
    names = recurrent_names(build.name, direction)
    flat = build.reshape(x, (steps * batch, inputs))
    sums = build.add_named(names[0], Linear(np.ascontiguousarray(weight), joint), flat)
    given = build.reshape(sums, (steps, batch, rows))
    states = [_first_state(node, 5 + i, direction, (batch, hidden)) for i in range(2 if is_lstm else 1)]
    peepholes = node.floats(7, "P")[direction] if is_lstm and node.has(7) else None
    op = Recurrent(
        "lstm" if is_lstm else "gru", np.ascontiguousarray(recurrent), behind, peepholes, reverse, reset_after
    )
    return build.add_named(names[1], op, given, *states)


def add_recurrence(node: OnnxNode, name: str, op: Recurrent, given: str, states: Sequence[str]) -> str:
    """Run the steps of time alone; return the name of all h, (T, B, H).

    Args:
        given: the gates' sums of the inputs, (T, B, G·H).
    """
    found = node.build.add_named(name, op, given, *states)
    return taken_at(node, found, {2: np.arange(op.weight.shape[1])})


def _recurrent(node: OnnxNode) -> Sequence[str]:
    if any(not node.is_constant(i) for i in (1, 2)) or len(node.shape()) != 3 or node.kind() != "f32":
        raise NotTaken("its weights are computed, or its input is not (steps, batch, inputs) in fp32")
    directions, batch_first = _direction_of(node), bool(node.attributes.get("layout", 0))
    x = transposed(node, node.tensor(), (1, 0, 2)) if batch_first else node.tensor()
    steps, batch, _ = node.build.shapes[x]
    _check(node, len(directions), steps)
    if any(len(node.floats(i, "weights")) != len(directions) for i in (1, 2)):
        raise NotTaken(f"its weights are not those of {len(directions)} directions")
    found = [_one_direction(node, x, place, reverse) for place, reverse in enumerate(directions)]
    hidden = node.shape(2)[2]
    results = [_all_states(node, found, (steps, batch, hidden))]
    for state in range(len(node.proto.output) - 1):
        results.append(_last_states(node, found, directions, state * hidden, (batch, hidden)))
    orders = ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))
    return [
        transposed(node, each, order) if batch_first else each for each, order in zip(results, orders, strict=False)
    ]


def _all_states(node: OnnxNode, found: Sequence[str], shape: tuple[int, int, int]) -> str:
    """Return Y, (T, D, B, H)."""
    steps, batch, hidden = shape
    parts = [
        node.build.reshape(taken_at(node, each, {2: np.arange(hidden)}), (steps, 1, batch, hidden)) for each in found
    ]
    return parts[0] if len(parts) == 1 else node.build.add(Join(1), *parts)


def _last_states(
    node: OnnxNode, found: Sequence[str], directions: Sequence[bool], first: int, shape: tuple[int, int]
) -> str:
    """Return Y_h or Y_c, (D, B, H), whose units begin at ``first`` in all states."""
    parts = []
    for each, reverse in zip(found, directions, strict=True):
        last = 0 if reverse else node.build.shapes[each][0] - 1
        step = taken_at(node, each, {0: np.arange(last, last + 1)})
        parts.append(taken_at(node, step, {2: np.arange(first, first + shape[1])}))
    return parts[0] if len(parts) == 1 else node.build.add(Join(0), *parts)


RECURRENT_RULES: Mapping[str, GeneralRule] = {"GRU": _recurrent, "LSTM": _recurrent}
