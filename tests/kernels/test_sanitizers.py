"""Every kernel over edge shapes under the sanitizers of the system's gcc or clang; skipped where there is none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prunemap.compiler.build import KERNELS, RUNTIME
from prunemap.compiler.emit import emit_program
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, Graph
from prunemap.compiler.lowering.lower import lower
from prunemap.targets import TARGETS, why_not_here
from tests.kernels.cases import (
    all_cases,
    make_batch_graph,
    make_case_graph,
    make_chain_graph,
    make_wide_stage_graph,
    spread_tiles,
)
from tests.kernels.general_cases import make_general_graph, make_peephole_graph

MAIN = Path(__file__).parent / "sanitize_main.c"
CC = shutil.which("gcc") or shutil.which("clang")
RUNNABLE = [name for name, target in TARGETS.items() if not why_not_here(target)]


@pytest.mark.skipif(CC is None, reason="no gcc or clang on this machine: kernels not run under sanitizers")
@pytest.mark.parametrize(
    "make",
    [
        lambda: make_case_graph(all_cases()[::2]),
        make_chain_graph,
        make_wide_stage_graph,
        make_batch_graph,
        make_general_graph,
        make_peephole_graph,
    ],
    ids=["layers", "chains", "wide stages", "batch", "general", "peepholes"],
)
@pytest.mark.parametrize(
    ("target", "threads", "sanitizers"),
    [
        *(pytest.param(target, 1, "address,undefined", marks=pytest.mark.whole) for target in RUNNABLE[1:]),
        (RUNNABLE[0], 1, "address,undefined"),
        (RUNNABLE[0], 3, "thread"),
    ],
    ids=lambda value: str(value).replace(",", "+"),
)
def test_kernels_are_clean_under_sanitizers(
    make: Callable[[], tuple[Graph, dict[str, AnyArray]]], target: str, threads: int, sanitizers: str, tmp_path: Path
) -> None:
    """The arena starts full of NaN: what is read before it is written shows in the result.

    Not optimised: that halves the time, and nothing that is wrong is optimised away before it is checked.
    """
    graph, inputs = make()
    machine = TARGETS[target]
    lowered = lower(graph, machine, tiles=spread_tiles(graph, machine, shift=threads))
    (tmp_path / "program.c").write_text(emit_program(lowered, machine))
    (tmp_path / "weights.bin").write_bytes(lowered.blob)
    np.concatenate([in_four_bytes(inputs[name]) for name in graph.inputs]).tofile(tmp_path / "inputs.bin")
    sides = ([inputs[name].size for name in graph.inputs], [int(np.prod(graph.shapes[n])) for n in graph.outputs])
    flags = [f"-march={machine.march}", *machine.cc_flags, "-std=gnu11", "-O0", "-g1", f"-fsanitize={sanitizers}"]
    flags += [
        "-fno-sanitize-recover=all",
        "-fno-math-errno",
        "-Wno-psabi",
        "-DARENA_FILL=255",
        f"-I{KERNELS}",
        f"-I{RUNTIME}",
        '-DPROGRAM="program.c"',
        f"-I{tmp_path}",
    ]
    subprocess.run([str(CC), *flags, str(MAIN), "-o", str(tmp_path / "main"), "-lpthread"], check=True, cwd=tmp_path)
    done = subprocess.run(
        ["./main", "weights.bin", "inputs.bin", "outputs.bin", str(threads)],
        input="\n".join(str(n) for side in sides for n in (len(side), *side)),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:6000]
    with np.errstate(all="ignore"):
        expected = interpret(graph, inputs)
    outputs = np.split(np.fromfile(tmp_path / "outputs.bin", np.float32), np.cumsum(sides[1])[:-1])
    for name, want, got in zip(graph.outputs, expected, outputs, strict=True):
        if want.dtype == np.float32:
            np.testing.assert_allclose(got, want.ravel(), rtol=1e-5, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(got.view(np.int32), want.ravel(), err_msg=name)


def in_four_bytes(value: AnyArray) -> AnyArray:
    """Return the elements as the program takes them, integers as the floats of the same bits."""
    return value.ravel() if value.dtype == np.float32 else value.astype(np.int32).ravel().view(np.float32)
