"""Where networks come from: ONNX files, files of ``torch.export.save`` (``.pt2``), torch modules in memory.

The compiler reads ONNX files. These functions take all three kinds and convert once; torch is imported only where there
is something to convert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from prunemap.benchmarking import BenchResult, Effort, VerifyResult, bench_model
from prunemap.benchmarking import verify as verify_onnx
from prunemap.benchmarking.benchmark import DEFAULT_VS
from prunemap.benchmarking.verify import TOLERANCE, Input, Runs
from prunemap.compiler import Tuning, compile_model, compile_with_fallback, inspect_model
from prunemap.compiler.build import find_compiler
from prunemap.core.artifact import TensorInfo
from prunemap.core.cache import cache_folder
from prunemap.core.files import check_writable, existing_file, sha256_of
from prunemap.core.inspection import Inspection
from prunemap.core.plan import Plan
from prunemap.core.table import look_up
from prunemap.errors import UserError
from prunemap.exporting import FORMATS, Exported, export_program
from prunemap.runtime import Compiled, Program, load, random_inputs, read_program

if TYPE_CHECKING:
    from prunemap.pruning.export import TorchModel

    Model = str | Path | TorchModel
    """An ONNX file, a ``.pt2`` file, a torch module, or what ``torch.export.export`` has made of one."""

EXPORTED, COMPILED = ".pt2", ".pmap"
_CONVERTERS = ("prunemap", "torch", "onnxscript")
"""What the result of a conversion depends on."""


class CompileOptions(TypedDict, total=False):
    """Options of :func:`compile`; see :func:`prunemap.compiler.compile_model`."""

    plan: Plan | None
    target: str
    shapes: Mapping[str, tuple[int, ...]] | None
    cc: str | None
    detect: bool
    tune: Tuning | None


@overload
def compile(
    model: Model, example_inputs: Any = None, *, fallback: None = None, **options: Unpack[CompileOptions]
) -> Program: ...


@overload
def compile(
    model: Model, example_inputs: Any = None, *, fallback: str, **options: Unpack[CompileOptions]
) -> Compiled: ...


def compile(
    model: Model, example_inputs: Any = None, *, fallback: str | None = None, **options: Unpack[CompileOptions]
) -> Compiled:
    """Compile a network.

    Args:
        model: an ONNX file, a ``.pt2`` file, a torch module (it is compiled in evaluation mode), or an ExportedProgram.
        example_inputs: for a module alone: a tensor, or the arguments of its ``forward`` as a tuple or by name. The
            program takes inputs of these sizes; a single one is called ``input``, several as ``forward`` calls them.
        fallback: ``onnxruntime`` runs the nodes that cannot be compiled there; None = such nodes are an error.
        options: plan, target, shapes, cc, detect, tune: see :func:`prunemap.compiler.compile_model`.

    Raises:
        UserError: the network cannot be read, converted or compiled.
    """
    with as_onnx(model, example_inputs) as path:
        compiled = (
            compile_model(path, **options) if fallback is None else compile_with_fallback(path, fallback, **options)
        )
    if isinstance(model, str | Path):
        return compiled
    return replace(compiled, manifest=replace(compiled.manifest, source_path=""))  # its ONNX file is gone


def export_compiled(
    model: str | Path,
    output: str | Path,
    form: str,
    *,
    target: str | None = None,
    plan: Plan | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    cc: str | None = None,
    tune: Tuning | None = None,
    web_threads: bool = False,
) -> Exported:
    """Export a network to take it elsewhere: as C source, a static program, or for the web.

    Args:
        model: an ONNX file, a ``.pt2`` file, or a ``.pmap``, whose target is then the export's.
        output: the file or folder to write.
        form: a row of :data:`prunemap.exporting.FORMATS`.
        target: what to compile for; None = as the format says.
        plan, shapes, cc, tune: see :func:`prunemap.compiler.compile_model`; all but cc not for a ``.pmap``.
        web_threads: see :func:`prunemap.exporting.export_program`.

    Raises:
        UserError: the network cannot be read, compiled or exported.
    """
    row, file, compiler = look_up(FORMATS, form, "--format"), existing_file(model, "model"), find_compiler(cc)
    if row.makes_file:
        check_writable(output)
    written = partial(
        export_program, output=Path(output), form=form, compiler=compiler, name=file.stem, web_threads=web_threads
    )
    if file.suffix != COMPILED:
        onnx = onnx_file(file)
        made_for = target or row.default_target
        return written(compile_model(onnx, target=made_for, plan=plan, shapes=shapes, cc=cc, tune=tune), model=onnx)
    compiled = read_program(file)
    if not isinstance(compiled, Program):
        raise UserError(f"export: {file} has segments for ONNX Runtime, which cannot be exported")
    if target not in (None, compiled.manifest.target) or plan or shapes:
        made_for = compiled.manifest.target
        raise UserError(
            f"export: {file} was compiled for {made_for}; another target, plan or shape needs the ONNX file"
        )
    return written(compiled)


def inspect(
    model: Model, example_inputs: Any = None, *, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Inspection:
    """Return the layers of a network as they are, and every node that cannot be compiled yet.

    Args:
        model, example_inputs: see :func:`compile`.
        shapes: sizes of inputs with symbolic dimensions; a symbolic batch alone means 1.
    """
    with as_onnx(model, example_inputs) as path:
        found = inspect_model(path, shapes)
    return found.model_copy(update={"model": name_of(model)})


def verify(
    program: Runs | str | Path,
    model: Model,
    inputs: Sequence[Input] | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> VerifyResult:
    """Run a compiled network and what it was compiled from on the same inputs and compare every output.

    Args:
        program: an engine, or the path of a ``.pmap``.
        model: see :func:`compile`; a module is exported at the sizes of the program's inputs.
        inputs, tolerance, seed: see :func:`prunemap.benchmarking.verify`.
    """
    if isinstance(program, str | Path):
        with load(program) as engine:
            return verify(engine, model, inputs, tolerance, seed)
    with as_onnx(model, sizes=program.inputs) as path:
        return verify_onnx(program, path, inputs, tolerance, seed)


def bench(
    model: Model,
    threads: int = 1,
    vs: Sequence[str] = DEFAULT_VS,
    *,
    example_inputs: Any = None,
    reference: str | Path | None = None,
    plan: Plan | None = None,
    sparsity: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    tune: bool = True,
    fallback: str | None = None,
    per_layer: bool = False,
) -> BenchResult:
    """Verify and time a network or a ``.pmap`` beside other engines; see :func:`prunemap.benchmarking.bench_model`.

    Args:
        model, example_inputs: see :func:`compile`; or the path of a ``.pmap``.
    """
    with as_onnx(model, example_inputs) as path:
        result = bench_model(
            path,
            threads,
            vs,
            reference=reference,
            plan=plan,
            sparsity=sparsity,
            shapes=shapes,
            effort=effort,
            seed=seed,
            tune=tune,
            fallback=fallback,
            per_layer=per_layer,
        )
    return result if path == model else result.model_copy(update={"model": name_of(model)})


def name_of(model: Model) -> str:
    """Return what a network is called in results: its path as given, or its class."""
    return str(model) if isinstance(model, str | Path) else type(model).__name__


@contextmanager
def as_onnx(model: Model, example_inputs: Any = None, sizes: Sequence[TensorInfo] = ()) -> Iterator[Path]:
    """Yield a network as an ONNX file: the file itself, or one that was made of it and is gone afterwards.

    Args:
        sizes: inputs to export a module with, where there are no examples.
    """
    if isinstance(model, str | Path):
        yield onnx_file(model)
        return
    export = _import_export()
    if example_inputs is None and sizes:
        example_inputs = export.as_tensors(random_inputs(sizes).values())
    with TemporaryDirectory(prefix="prunemap-") as folder:
        path = Path(folder) / f"{type(model).__name__}.onnx"
        export.convert_module(model, example_inputs, path)
        yield path


def onnx_file(path: str | Path) -> Path:
    """Return the path itself, or for a ``.pt2`` file that of an ONNX file, kept in the cache by what it was made of.

    Raises:
        UserError: no such file, or it cannot be converted.
    """
    file = Path(path)
    if file.suffix != EXPORTED:
        return file
    made_of = sha256_of(existing_file(file, "model")), *map(_version, _CONVERTERS)
    converted = cache_folder("onnx") / hashlib.sha256(repr(made_of).encode()).hexdigest() / f"{file.stem}.onnx"
    if not converted.exists():
        _import_export().convert_exported(file, converted)
    return converted


def _import_export() -> Any:
    for package in _CONVERTERS:
        _version(package)
    return import_module("prunemap.pruning.export")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise UserError(
            f"model: torch networks need {package}, which is not installed; "
            "install it with: pip install 'prunemap[train]'"
        ) from None
