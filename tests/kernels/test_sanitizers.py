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
from prunemap.compiler.interpret import interpret
from prunemap.compiler.ir import Array, Graph
from prunemap.compiler.lower import lower
from prunemap.targets import TARGETS, why_not_here
from tests.kernels.cases import all_cases, make_batch_graph, make_case_graph, make_chain_graph, spread_tiles

MAIN = Path(__file__).parent / "sanitize_main.c"
CC = shutil.which("gcc") or shutil.which("clang")
RUNNABLE = [name for name, target in TARGETS.items() if not why_not_here(target)]


@pytest.mark.skipif(CC is None, reason="no gcc or clang on this machine: kernels not run under sanitizers")
@pytest.mark.parametrize(
    "make",
    [lambda: make_case_graph(all_cases()[::2]), make_chain_graph, make_batch_graph],
    ids=["layers", "chains", "batch"],
)
@pytest.mark.parametrize(
    ("target", "threads", "sanitizers"),
    [(RUNNABLE[-1], 1, "address,undefined"), (RUNNABLE[0], 1, "address,undefined"), (RUNNABLE[0], 3, "thread")],
    ids=lambda value: str(value).replace(",", "+"),
)
def test_kernels_are_clean_under_sanitizers(
    make: Callable[[], tuple[Graph, dict[str, Array]]], target: str, threads: int, sanitizers: str, tmp_path: Path
) -> None:
    """The arena starts full of NaN: what is read before it is written shows in the result."""
    graph, inputs = make()
    machine = TARGETS[target]
    lowered = lower(graph, machine, tiles=spread_tiles(graph, machine, shift=threads))
    (tmp_path / "program.c").write_text(emit_program(lowered, machine))
    (tmp_path / "weights.bin").write_bytes(lowered.blob)
    np.concatenate([inputs[name].ravel() for name in graph.inputs]).tofile(tmp_path / "inputs.bin")
    sides = ([inputs[name].size for name in graph.inputs], [int(np.prod(graph.shapes[n])) for n in graph.outputs])
    flags = [f"-march={machine.march}", *machine.cc_flags, "-std=gnu11", "-O1", "-g", f"-fsanitize={sanitizers}"]
    flags += [
        "-fno-sanitize-recover=all",
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
    outputs = np.fromfile(tmp_path / "outputs.bin", np.float32)
    expected = np.concatenate([output.ravel() for output in interpret(graph, inputs)])
    np.testing.assert_allclose(outputs, expected, atol=1e-4)
