"""What a program is on a device: one static file, or under Node a web export with what runs it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from prunemap.compiler.build import find_compiler
from prunemap.exporting.exe import executable
from prunemap.exporting.reference import OutputSample, Reference
from prunemap.exporting.web import web_files
from prunemap.runtime import Program
from prunemap.targets import resolve_target

RUNNER = "runner.mjs"


def program_files(
    program: Program, name: str, reference: Reference | None = None, cc: str | None = None
) -> dict[str, bytes]:
    """Return the files of a program by their path there; ``name`` is what runs it.

    Args:
        reference: what it checks itself against; None = nothing.

    Raises:
        UserError: it cannot be made.
    """
    compiler = find_compiler(cc)
    against = reference or Reference("nothing", tuple(OutputSample(1, (), 1.0) for _ in program.manifest.outputs))
    if resolve_target(program.manifest.target).arch == "wasm32":
        files = web_files(program, name, against, compiler) | {RUNNER: (Path(__file__).parent / RUNNER).read_bytes()}
        start = f'#!/bin/sh\nexec node "$(dirname "$0")/{name}.web/{RUNNER}" "$@"\n'
        return {name: start.encode(), **{f"{name}.web/{path}": data for path, data in files.items()}}
    with TemporaryDirectory(prefix="prunemap-") as folder:
        executable(program, name, against, compiler, Path(folder) / name)
        return {name: (Path(folder) / name).read_bytes()}
