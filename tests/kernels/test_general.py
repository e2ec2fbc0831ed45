"""The kernels of the general ops over shapes, layouts and kinds, against the interpreter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.graph.interpret import interpret
from prunemap.runtime import Engine
from prunemap.targets import TARGETS, why_not_here
from tests.kernels.general_cases import MAKERS, GraphBuilder

RUNNABLE = [name for name, target in TARGETS.items() if not why_not_here(target)]


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("make", MAKERS)
def test_general_kernels_agree_with_the_interpreter(make: Callable[[GraphBuilder], None], target: str) -> None:
    b = GraphBuilder()
    make(b)
    graph = b.graph()
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = interpret(graph, b.inputs)
    program = build_graph(graph, TARGETS[target], find_compiler())
    for threads in (1, 2):
        with Engine(program, threads) as engine:
            for _ in range(2):  # the second run meets what the first one left in the arena
                for node, want, got in zip(b.computed(), expected, engine.run(b.inputs), strict=True):
                    assert got.dtype == want.dtype, node
                    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5, err_msg=f"{node.name} {node.op}")
