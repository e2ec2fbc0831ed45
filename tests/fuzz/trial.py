"""One trial: a file is mutated, then everything is done with it that is done with a good one."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.emit import emit_program
from prunemap.compiler.finite import check_finite, check_folded
from prunemap.compiler.layers import inspect_model
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.partition import partition
from prunemap.compiler.passes import optimise
from prunemap.errors import UnsupportedError, UserError
from prunemap.runtime import Engine, random_inputs, read_program, start
from prunemap.targets import resolve_target
from tests.fuzz.onnx_mutations import change_bytes, change_structure
from tests.fuzz.pmap_mutations import change_pmap
from tests.fuzz.seeds import COMPILER, DATA, write_external

DEFECT = "defect"


@dataclass(frozen=True)
class Result:
    """How a trial ended."""

    source: str
    """The file that was mutated."""
    mutations: tuple[str, ...]
    outcome: str
    """The last stage that gave a result, ``refused`` and the stage that did, or ``defect``."""
    detail: str = ""
    """The message; of a defect, what it was and where."""


class _Stages:
    """Remembers how far a trial has come."""

    def __init__(self) -> None:
        self.now = "start"

    def outcome(self, work: Callable[[], str]) -> tuple[str, str]:
        try:
            return work(), ""
        except UserError as error:
            kind = "unsupported" if isinstance(error, UnsupportedError) else "refused"
            return f"{kind}: {self.now}", str(error)
        except Exception as error:
            return DEFECT, f"{self.now}: {_where(error)}"


def _where(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "prunemap" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
    return f"{type(error).__name__} in {place}: {str(error)[:300]}"


def try_onnx(models: Mapping[str, bytes], rng: np.random.Generator, folder: Path, compiled_share: float) -> Result:
    """Mutate one of the models and take it through the compiler.

    Args:
        models: valid models by name.
        compiled_share: of those that come so far, how many are compiled to C and run.
    """
    source = list(models)[int(rng.integers(len(models)))]
    path, model = folder / "m.onnx", onnx.ModelProto.FromString(models[source])
    kind = rng.random()
    if kind < 0.1:
        done = ["change_bytes"]
        path.write_bytes(change_bytes(models[source], rng))
    elif kind < 0.15:
        done = ["external", *_change_external(model, rng, path)]
    else:
        done = change_structure(model, rng)
        path.write_bytes(model.SerializeToString())
    outcome, detail = _compiler(path, compiled_share > rng.random())
    return Result(source, tuple(done), outcome, detail)


def _change_external(model: onnx.ModelProto, rng: np.random.Generator, path: Path) -> list[str]:
    """A model in two files, one of them damaged."""
    write_external(model, path)
    data = path.parent / DATA
    how = rng.random()
    if how < 0.3 and data.exists():
        data.write_bytes(change_bytes(data.read_bytes(), rng))
        return ["data"]
    if how < 0.5 and data.exists():
        content = data.read_bytes()
        data.write_bytes(content[: int(rng.integers(len(content) + 1))])
        return ["cut data"]
    if how < 0.6:
        data.unlink(missing_ok=True)
        return ["no data"]
    changed = onnx.load(str(path), load_external_data=False)
    done = change_structure(changed, rng)
    path.write_bytes(changed.SerializeToString())
    return done


def _compiler(path: Path, compile_it: bool) -> tuple[str, str]:
    stages = _Stages()

    def work() -> str:
        stages.now = "read"
        model = read_onnx(path)
        stages.now = "inspect"
        if inspect_model(path).unsupported:
            stages.now = "partition"
            partition(model)
        stages.now = "import"
        graph = import_graph(model)
        stages.now = "optimise"
        check_finite(model)
        graph = optimise(graph)
        check_folded(graph)
        stages.now = "lower"
        target = resolve_target("native")
        emit_program(lower(graph, target), target)
        if not compile_it:
            return "lowered"
        stages.now = "compile"
        program = build_graph(graph, target, find_compiler(COMPILER))
        stages.now = "run"
        with warnings.catch_warnings(), Engine(program) as engine:
            engine.run(random_inputs(engine.inputs))
        return "ran"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return stages.outcome(work)


def try_pmap(files: Mapping[str, bytes], rng: np.random.Generator, folder: Path) -> Result:
    """Mutate one of the ``.pmap`` files, load it, and run what loads."""
    source = list(files)[int(rng.integers(len(files)))]
    path = folder / "m.pmap"
    done = change_pmap(files[source], rng, path)
    stages = _Stages()

    def work() -> str:
        stages.now = "read"
        program = read_program(path)
        stages.now = "load"
        with start(program) as engine:
            stages.now = "run"
            engine.run(random_inputs(engine.inputs))
        return "ran"

    outcome, detail = stages.outcome(work)
    return Result(source, tuple(done), outcome, detail)
