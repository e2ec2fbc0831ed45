"""What a program is on a device: one static file, or a web export with what runs it in Node or in a browser."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from prunemap.compiler.build import find_compiler
from prunemap.devices import CHROMIUM, NODE, browser
from prunemap.exporting.exe import executable
from prunemap.exporting.reference import OutputSample, Reference
from prunemap.exporting.web import web_files
from prunemap.runtime import Program
from prunemap.targets import resolve_target

RUNNERS = ("runner.js", "node.mjs", "browser.html")
_STARTS = {
    NODE: 'exec node "{folder}/node.mjs" "$@"',
    CHROMIUM: f'exec {shlex.quote(sys.executable)} -m {browser.__name__} "{{folder}}" "$@"',
}
"""By engine; a browser is driven by this Python, so its device is this machine."""


def program_files(
    program: Program,
    name: str,
    reference: Reference | None,
    cc: str | None,
    *,
    engine: str,
    threads: int,
) -> dict[str, bytes]:
    """Return the files of a program by their path there; ``name`` is what runs it.

    Args:
        reference: what it checks itself against; None = nothing.
        engine: what runs it, if it is WebAssembly.
        threads: the most that it will run with.

    Raises:
        UserError: it cannot be made.
    """
    compiler = find_compiler(cc)
    against = reference or Reference("nothing", tuple(OutputSample(1, (), 1.0) for _ in program.manifest.outputs))
    if resolve_target(program.manifest.target).arch == "wasm32":
        runners = {file: (Path(__file__).parent / file).read_bytes() for file in RUNNERS}
        start = _STARTS[engine].format(folder=f'$(dirname "$0")/{name}.web')
        files = web_files(program, name, against, compiler, threads=threads > 1) | runners
        return {name: f"#!/bin/sh\n{start}\n".encode(), **{f"{name}.web/{path}": data for path, data in files.items()}}
    with TemporaryDirectory(prefix="prunemap-") as folder:
        executable(program, name, against, compiler, Path(folder) / name)
        return {name: (Path(folder) / name).read_bytes()}
