"""Whether a compiled program computes what its ONNX model means, on given or random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from prunemap.benchmarking.engines import Batch, LoadedOnnxRuntime
from prunemap.compiler.onnx.file import graph_inputs, read_onnx
from prunemap.core.artifact import TensorInfo
from prunemap.core.files import existing_file
from prunemap.core.value import Value
from prunemap.devices import float_mode_kept
from prunemap.errors import UserError
from prunemap.runtime import load, random_inputs

TOLERANCE = 1e-4
Input = NDArray[Any] | Mapping[str, NDArray[Any]]
"""One batch: an array for a network with one input, else arrays by input name."""


class Described(Protocol):
    """What says what it takes and returns: an engine, a manifest."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...


class Runs(Described, Protocol):
    """What is verified: an engine, or anything that runs like one."""

    def run(self, x: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]: ...


class OutputError(Value):
    """How far one output is off."""

    name: str
    shape: tuple[int, ...]
    max_relative_error: float
    """Largest error over the output's largest magnitude; infinite where a value is not finite."""


class VerifyResult(Value):
    """The errors of all outputs, each the largest over the batches."""

    reference: str
    """What the program was held against, with its version."""
    batches: int
    tolerance: float
    outputs: tuple[OutputError, ...]

    @property
    def max_relative_error(self) -> float:
        """The largest error of all outputs."""
        return max((output.max_relative_error for output in self.outputs), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return self.max_relative_error <= self.tolerance


@float_mode_kept()
def verify(
    program: Runs | str | Path,
    model: str | Path,
    inputs: Sequence[Input] | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> VerifyResult:
    """Run a program and its ONNX model on the same inputs and compare every output.

    The reference is ONNX Runtime where it is installed, else the evaluator of the onnx package; never our own
    importer alone.

    Args:
        program: an engine, or the path of a ``.pmap``.
        model: the ONNX file that it was compiled from.
        inputs: batches in the network's input shape; None = one batch of random numbers.
        seed: of the random batch.

    Raises:
        UserError: the tolerance is negative or no number, a file cannot be used, the model has other inputs or outputs
            than the program, or a batch does not fit.
    """
    if not tolerance >= 0:
        raise UserError(f"tolerance: got {tolerance:g}, allowed are values from 0")
    if isinstance(program, str | Path):
        with load(program) as engine:
            return verify(engine, model, inputs, tolerance, seed)
    reference, run_reference = load_reference(existing_file(model, "reference"), program)
    batches = (
        [random_inputs(program.inputs, seed)]
        if inputs is None
        else [named_batch(program.inputs, batch) for batch in inputs]
    )
    worst = [0.0] * len(program.outputs)
    for batch in batches:
        found, wanted = program.run(batch), run_reference(batch)
        worst = [max(w, relative_error(f, r)) for w, f, r in zip(worst, found, wanted, strict=True)]
    return VerifyResult(
        reference=reference,
        batches=len(batches),
        tolerance=tolerance,
        outputs=tuple(
            OutputError(name=info.name, shape=info.shape, max_relative_error=error)
            for info, error in zip(program.outputs, worst, strict=True)
        ),
    )


def relative_error(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the largest error over the largest magnitude of ``wanted``; infinite for other shapes or NaN anywhere."""
    if found.shape != wanted.shape or not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return float("inf")
    if not wanted.size:
        return 0.0
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    error, magnitude = float(np.abs(found - wanted).max()), float(np.abs(wanted).max())
    if error == 0:
        return 0.0
    return error / magnitude if magnitude else float("inf")


def named_batch(inputs: Sequence[TensorInfo], batch: Input) -> Batch:
    """Return the batch by input name.

    Raises:
        UserError: one array for a network with several inputs.
    """
    if isinstance(batch, Mapping):
        return batch
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise UserError(f"inputs: got one array, the network has {len(inputs)} inputs: {names}")
    return {inputs[0].name: batch}


def load_reference(file: Path, program: Described) -> tuple[str, Callable[[Batch], list[NDArray[Any]]]]:
    """Return what the reference is called, and the function that runs it."""
    try:
        loaded = read_onnx(file, {info.name: info.shape for info in program.inputs})
    except UserError as error:
        raise UserError(f"reference: {file} does not fit the program: {error}") from None
    for what, values, infos in (
        ("inputs", graph_inputs(loaded), program.inputs),
        ("outputs", loaded.graph.output, program.outputs),
    ):
        got, wanted = [value.name for value in values], [info.name for info in infos]
        if got != wanted:
            raise UserError(f"reference: {file} has the {what} {', '.join(got)}, the program has {', '.join(wanted)}")
    if find_spec("onnxruntime") is not None:
        engine = LoadedOnnxRuntime(file)
        return engine.version, engine.run
    evaluator = ReferenceEvaluator(loaded)
    return f"onnx.reference {onnx.__version__}", lambda batch: list(evaluator.run(None, dict(batch)))
