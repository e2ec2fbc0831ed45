"""One static program with the weights inside, and what it is checked against."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunemap.compiler.build import Compiler, CRun
from prunemap.core.files import replacing
from prunemap.errors import UserError
from prunemap.exporting.c_source import c_files
from prunemap.exporting.reference import Reference, reference_header
from prunemap.runtime import Program
from prunemap.targets import resolve_target

C_FILES = Path(__file__).parent / "c"
_SOURCES = ("model.c", "weights.c", "runner.c")
_LINK = ("-static", "-s", "-Wl,--gc-sections", "-lpthread", "-lm")


def executable(program: Program, name: str, reference: Reference, compiler: Compiler, output: Path) -> None:
    """Build the program of runner.c.

    Raises:
        UserError: ``output`` cannot be written, or this compiler or target makes no such program.
    """
    target = resolve_target(program.manifest.target)
    if compiler.is_zig and not target.static_triple:
        raise UserError(f"export: there are no static programs for {target.name}")
    files = c_files(program, name)
    files |= {each: (C_FILES / each).read_bytes() for each in ("weights.c", "runner.c")}
    files["reference.h"] = reference_header(reference).encode()
    with tempfile.TemporaryDirectory(prefix="prunemap-") as temporary:
        folder = Path(temporary)
        (folder / "kernels").mkdir()
        for each, data in files.items():
            (folder / each).write_bytes(data)
        make = CRun(compiler, target, folder, static=True, compiled=("-ffunction-sections",))
        made = make("runner", _SOURCES, _LINK)
        with replacing(output) as beside:
            beside.write_bytes(made.read_bytes())
        output.chmod(0o755)
