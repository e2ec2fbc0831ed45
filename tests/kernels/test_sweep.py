"""Every kernel over edge shapes, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.interpret import interpret
from prunemap.compiler.ir import Conv, Linear
from prunemap.runtime import Engine
from prunemap.targets import TARGETS, why_not_here
from tests.kernels.cases import all_cases, make_case_graph

CASES = all_cases()
RUNNABLE = [name for name, target in TARGETS.items() if not why_not_here(target)]


@pytest.mark.parametrize("detect", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("target", RUNNABLE)
def test_kernels_agree_with_the_interpreter(target: str, detect: bool) -> None:
    graph, inputs = make_case_graph(CASES)
    expected = interpret(graph, inputs)
    program = build_graph(graph, TARGETS[target], find_compiler(), detect=detect)
    kernels = {choice.kernel for choice in program.manifest.layers}
    for threads in (1, 2):
        with Engine(program, threads) as engine:
            for repeat in range(2):  # the second run meets what the first one left in the arena
                for case, node, want, got in zip(CASES, graph.nodes, expected, engine.run(inputs), strict=True):
                    op = node.op
                    assert isinstance(op, Conv | Linear)
                    terms = np.prod(op.weight.shape[1:])
                    bound = 4 * np.finfo(np.float32).eps * np.sqrt(terms + 1) * max(1, np.abs(op.weight).max()) * 8
                    error = np.abs(want - got).max()
                    assert error <= bound, f"{case} {target} threads={threads} run={repeat}: {error:.2e} > {bound:.2e}"
    assert len(kernels) > 8 if detect else len(kernels) > 3, f"the sweep reaches only {sorted(kernels)}"
