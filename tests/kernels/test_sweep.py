"""Every kernel over edge shapes, against the interpreter."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import Array, Conv, Linear, Node
from prunemap.runtime import Engine
from prunemap.targets import TARGETS, why_not_here
from tests.kernels.cases import Case, all_cases, make_batch_graph, make_case_graph, spread_tiles

CASES = all_cases()
RUNNABLE = [name for name, target in TARGETS.items() if not why_not_here(target)]
SWEEPS = [(True, 0), (True, 1), (True, 3), (False, 0), (False, 2)]
"""Whether structure is detected, and which tiles are picked."""
FEW = {(target, True, 0) for target in RUNNABLE} | {(RUNNABLE[0], True, 1), (RUNNABLE[0], False, 2)}
"""What runs without --whole: more on the best target here."""
ALL_SWEEPS = [
    pytest.param(*sweep, marks=[] if sweep in FEW else [pytest.mark.whole])
    for sweep in ((target, *sweep) for target, sweep in product(RUNNABLE, SWEEPS))
]


@pytest.mark.parametrize(("target", "detect", "shift"), ALL_SWEEPS)
def test_kernels_agree_with_the_interpreter(target: str, detect: bool, shift: int) -> None:
    graph, inputs = make_case_graph(CASES)
    expected = interpret(graph, inputs)
    tiles = spread_tiles(graph, TARGETS[target], shift, detect)
    program = build_graph(graph, TARGETS[target], find_compiler(), detect=detect, tiles=tiles)
    families = {choice.kernel.rstrip("0123456789xi_") for choice in program.manifest.layers}
    listed = {"f32_depthwise_listed_3s", "f32_depthwise_listed_5s"}
    assert families.isdisjoint(listed) if not detect else families > listed
    assert {
        "f32_conv",
        "f32_conv_lanes",
        "f32_conv_masked",
        "f32_linear",
        "f32_linear_masked",
        "f32_linear_pick",
        "f32_depthwise_any",
        "f32_depthwise_3s",
        "f32_depthwise_5s",
        "f32_depthwise_7s",
        "f32_depthwise_9s",
    } <= families
    steps = {choice.kernel.rsplit("_", 1)[1] for choice in program.manifest.layers if "f32_conv" in choice.kernel}
    assert steps == {"c8", "i8", "i16"}, "how the steps of convs are stored"
    for threads in (1, 2):
        with Engine(program, threads) as engine:
            for repeat in range(2):  # the second run meets what the first one left in the arena
                for case, node, want, got in zip(CASES, graph.nodes, expected, engine.run(inputs), strict=True):
                    check(case, node, want, got, f"{target} threads={threads} run={repeat} tile={tiles.get(node.name)}")


@pytest.mark.parametrize("target", RUNNABLE)
def test_images_take_turns(target: str) -> None:
    graph, inputs = make_batch_graph()
    expected = interpret(graph, inputs)
    program = build_graph(graph, TARGETS[target], find_compiler())
    for threads in (1, 2):
        with Engine(program, threads) as engine:
            for _ in range(2):
                for name, want, got in zip(graph.outputs, expected, engine.run(inputs), strict=True):
                    np.testing.assert_allclose(got, want, atol=1e-5, err_msg=f"{name} with {threads} threads")
            assert (engine.time_slots(inputs, 1) > 0).all()


def check(case: Case, node: Node, want: Array, got: Array, where: str) -> None:
    """The error of a sum of n products grows like the square root of n; 4 standard deviations are allowed, times 8."""
    op = node.op
    assert isinstance(op, Conv | Linear)
    terms = np.prod(op.weight.shape[1:])
    bound = 32 * np.finfo(np.float32).eps * np.sqrt(terms + 1) * max(1, np.abs(op.weight).max())
    error = np.abs(want - got).max()
    assert error <= bound, f"{case} {where}: {error:.2e} > {bound:.2e}"
