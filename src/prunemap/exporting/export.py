"""The formats that a compiled program can be exported in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from prunemap.compiler.build import Compiler
from prunemap.core.table import by_name, look_up
from prunemap.core.value import Value
from prunemap.errors import UserError
from prunemap.exporting.c_source import c_files
from prunemap.exporting.exe import executable
from prunemap.exporting.reference import make_reference
from prunemap.exporting.web import web_files
from prunemap.runtime import Program
from prunemap.targets import resolve_target

C_FILES = Path(__file__).parent / "c"
MARK_C, MARK_WEB = "model.c", "model.js"
"""What tells a folder of an earlier export."""


class Exported(Value):
    """What an export has written."""

    format: str
    target: str
    path: str
    size_bytes: int
    """Of all files."""
    weight_bytes: int
    reference: str = ""
    """What the stored reference was made by; "" = there is none."""


class Request(NamedTuple):
    """What is to be exported."""

    program: Program
    name: str
    model: Path | None
    """The ONNX file that it was compiled from just now; None = from a ``.pmap``."""
    output: Path
    compiler: Compiler
    web_threads: bool = False
    """Whether a web export runs with several threads too."""


@dataclass(frozen=True)
class Format:
    """One format; a new one is a new row of FORMATS."""

    name: str
    write: Callable[[Request], str]
    """Writes the export and returns what its reference was made by."""
    arches: tuple[str, ...] = ()
    """Of targets that it can be for; () = any but WebAssembly."""
    default_target: str = "native"
    makes_file: bool = False
    """Whether it is one file, no folder."""


def export_program(
    program: Program,
    output: Path,
    form: str,
    compiler: Compiler,
    *,
    name: str,
    model: Path | None = None,
    web_threads: bool = False,
) -> Exported:
    """Write a program in a format, whole or not at all.

    Args:
        output: the file, or the folder, to write; a folder of an earlier export is replaced.
        form: a row of FORMATS.
        name: what the model is called there.
        model: its ONNX file, for the reference; see :func:`prunemap.exporting.reference.make_reference`.
        web_threads: of a web export, add modules that run with several threads.

    Raises:
        UserError: the program cannot be exported so, or ``output`` cannot be written.
    """
    row = look_up(FORMATS, form, "--format")
    target = resolve_target(program.manifest.target)
    is_web = target.arch == "wasm32"
    if (target.arch not in row.arches) if row.arches else is_web:
        raise UserError(f"export: --format {form} cannot be made for {target.name}")
    if web_threads and not is_web:
        raise UserError(f"--web-threads: got --format {form}, allowed is web; other formats have threads as they are")
    made_by = row.write(Request(program, name, model, output, compiler, web_threads))
    files = [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    return Exported(
        format=form,
        target=target.name,
        path=str(output),
        size_bytes=sum(file.stat().st_size for file in files),
        weight_bytes=program.weights_size,
        reference=made_by,
    )


def _write_c(request: Request) -> str:
    target = resolve_target(request.program.manifest.target)
    files = c_files(request.program, request.name)
    files |= {name: (C_FILES / name).read_bytes() for name in ("main.c", "weights.c")}
    flags = " ".join((f"{target.march_option}={target.march}", *target.cc_flags, "-O3", "-fno-math-errno"))
    files["CMakeLists.txt"] = (
        (C_FILES / "CMakeLists.txt").read_text(encoding="utf-8").replace("@FLAGS@", flags).encode()
    )
    write_folder(request.output, files, MARK_C)
    return ""


def _write_exe(request: Request) -> str:
    reference = make_reference(request.program, request.model)
    executable(request.program, request.name, reference, request.compiler, request.output)
    return reference.made_by


def _write_web(request: Request) -> str:
    reference = make_reference(request.program, request.model)
    files = web_files(request.program, request.name, reference, request.compiler, threads=request.web_threads)
    write_folder(request.output, files, MARK_WEB)
    return reference.made_by


def write_folder(output: Path, files: Mapping[str, bytes], mark: str) -> None:
    """Write a folder, whole or not at all.

    Args:
        mark: a file that tells an earlier export, which is replaced; any other folder that is not empty stays.

    Raises:
        UserError: ``output`` cannot be written.
    """
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / mark).is_file())):
        raise UserError(f"output: {output} is there already, and is no folder of an earlier export")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary:
            made = Path(temporary) / "made"
            for name, data in files.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_bytes(data)
            if output.exists():
                output.replace(Path(temporary) / "before")
            made.replace(output)
    except OSError as error:
        raise UserError(f"output: cannot write {output}: {error.strerror or error}") from None


FORMATS: dict[str, Format] = by_name(
    (
        Format("c", _write_c),
        Format("exe", _write_exe, makes_file=True),
        Format("web", _write_web, arches=("wasm32",), default_target="wasm32-simd"),
    )
)
