"""The ONNX project's own node tests of every operator that is claimed: interpreted, and compiled many at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from prunemap.compiler.build import Compiler, find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, Graph
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.passes import optimise
from prunemap.runtime import Engine
from prunemap.targets import NATIVE, resolve_target
from tests.onnx_nodes.cases import Case, Imported, batches, import_case, node_cases

PER_COMPILE = 40
"""Cases that are compiled as one program."""
CASES = node_cases()[0]
BATCHES = tuple(batches(CASES, PER_COMPILE))


def check(case: Case, got: Sequence[AnyArray]) -> None:
    for have, want in zip(got, case.outputs, strict=True):
        assert have.shape == want.shape
        assert have.dtype.kind == want.dtype.kind
        np.testing.assert_allclose(have, want, case.rtol, case.atol)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_interpreted(case: Case, tmp_path: Path) -> None:
    imported = import_case(case, tmp_path)
    with np.errstate(all="ignore"):
        check(case, interpret(optimise(imported.graph), as_held(imported.inputs)))


def as_held(inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return inputs as the interpreter takes them: int64 in 32 bits."""
    return {name: value.astype(np.int32) if value.dtype == np.int64 else value for name, value in inputs.items()}


@pytest.mark.parametrize("cases", BATCHES, ids=lambda cases: f"{cases[0].name}..{cases[-1].name}")
def test_compiled(cases: tuple[Case, ...], tmp_path: Path) -> None:
    imported, failures = [], []
    for case in cases:
        try:
            imported.append(import_case(case, tmp_path))
        except Exception as error:  # whatever happens belongs to this case
            failures.append(f"{case.name}: {_first_line(error)}")
    failures += _compiled_failures(imported)
    assert not failures, "\n".join(failures)


def _compiled_failures(imported: Sequence[Imported]) -> list[str]:
    """Compile the cases as one program and run it; where that fails, each half by itself, to know whose fault it is."""
    if not imported:
        return []
    try:
        outputs = _run_compiled(imported)
    except Exception as error:  # the compiler's as well as the C compiler's
        if len(imported) == 1:
            return [f"{imported[0].case.name}: {_first_line(error)}"]
        half = len(imported) // 2
        return _compiled_failures(imported[:half]) + _compiled_failures(imported[half:])
    failures = []
    for place, each in enumerate(imported):
        try:
            check(each.case, [outputs[_prefixed(place, name)] for name in each.graph.outputs])
        except AssertionError as error:
            failures.append(f"{each.case.name}: {' '.join(str(error).split())[:300]}")
    return failures


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:300]}"


def _run_compiled(imported: Sequence[Imported]) -> Mapping[str, AnyArray]:
    graph = optimise(merged([each.graph for each in imported]))
    inputs = {_prefixed(i, name): value for i, each in enumerate(imported) for name, value in each.inputs.items()}
    wanted = {
        _prefixed(i, name): value
        for i, each in enumerate(imported)
        for name, value in zip(each.graph.outputs, each.case.outputs, strict=True)
    }
    wide = {name: "int64" for name, value in (inputs | wanted).items() if value.dtype == np.int64}
    program = build_graph(graph, resolve_target(NATIVE), _compiler(), dtypes=wide)
    with Engine(program) as engine:
        return dict(zip(graph.outputs, engine.run(inputs), strict=True))


@cache
def _compiler() -> Compiler:
    return find_compiler()


def _prefixed(place: int, name: str) -> str:
    return f"{place}/{name}"


def merged(graphs: Sequence[Graph]) -> Graph:
    """Return all graphs side by side in one, names prefixed by their places."""
    shapes, kinds, outputs, nodes = {}, {}, [], []
    for i, graph in enumerate(graphs):
        shapes |= {_prefixed(i, name): graph.shapes[name] for name in graph.inputs}
        kinds |= {_prefixed(i, name): graph.kinds[name] for name in graph.inputs}
        outputs += [_prefixed(i, name) for name in graph.outputs]
        for node in graph.nodes:
            inputs = tuple(_prefixed(i, name) for name in node.inputs)
            nodes.append(replace(node, name=_prefixed(i, node.name), inputs=inputs, output=_prefixed(i, node.output)))
    return make_graph(shapes, outputs, nodes, kinds)
