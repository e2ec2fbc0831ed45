"""What an exported program is checked against where it runs: outputs for inputs that it can make itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prunemap.benchmarking.verify import TOLERANCE, load_reference
from prunemap.compiler.onnx.source import model_sha256
from prunemap.devices import float_mode_kept
from prunemap.errors import UserError
from prunemap.exporting.raw import Array, probe_inputs
from prunemap.runtime import Engine, Program
from prunemap.targets import resolve_target, why_not_here

MOST_VALUES = 1024
"""Of one output; of a larger one, values at equal distances."""


@dataclass(frozen=True)
class OutputSample:
    """What is kept of one output: every ``step``-th value."""

    step: int
    values: tuple[float, ...]
    magnitude: float
    """The largest of the whole output; errors are relative to it."""


@dataclass(frozen=True)
class Reference:
    """Outputs for :func:`prunemap.exporting.raw.probe_inputs`."""

    made_by: str
    outputs: tuple[OutputSample, ...]
    tolerance: float = TOLERANCE


@float_mode_kept()
def make_reference(program: Program, model: Path | None) -> Reference:
    """Return the reference of a program.

    Args:
        model: its ONNX file; None = the one that it was compiled from, while it is unchanged, else the program itself,
            if it can run here.

    Raises:
        UserError: there is neither.
    """
    manifest = program.manifest
    source = model or Path(manifest.source_path or ".")
    inputs = probe_inputs(manifest.inputs)
    if model or (source.is_file() and model_sha256(source) == manifest.source_sha256):
        made_by, run = load_reference(source, manifest)
        return Reference(made_by, tuple(map(_sample, run(inputs))))
    why = why_not_here(resolve_target(manifest.target))
    if why:
        raise UserError(
            f"export: no reference can be made: the network's ONNX file is gone or changed, and {why}; "
            "export the ONNX file instead"
        )
    with Engine(program) as engine:
        return Reference("prunemap on the machine that exported it", tuple(map(_sample, engine.run(inputs))))


def _sample(output: Array) -> OutputSample:
    values = np.asarray(output).astype(np.float64).ravel()
    if not np.isfinite(values).all():  # of such inputs this network makes no number to compare
        return OutputSample(1, (), 1.0)
    step = max(1, -(-values.size // MOST_VALUES))
    return OutputSample(step, tuple(values[::step].tolist()), float(np.abs(values).max(initial=0)))


def reference_header(reference: Reference) -> str:
    """Return reference.h."""
    arrays = [
        f"static const float reference_{k}[] = {{{', '.join(_c_float(value) for value in output.values) or '0'}}};"
        for k, output in enumerate(reference.outputs)
    ]
    rows = [
        f"  {{{output.step}, {len(output.values)}, reference_{k}, {output.magnitude!r}}},"
        for k, output in enumerate(reference.outputs)
    ]
    return "\n".join(
        (
            "/* What the model makes of the inputs of runner.c. */",
            f'#define MODEL_REFERENCE "{reference.made_by}"',
            f"#define MODEL_TOLERANCE {reference.tolerance!r}",
            "typedef struct {",
            "  int64_t step, count;",
            "  const float *values;",
            "  double magnitude;",
            "} model_reference;",
            *arrays,
            "static const model_reference model_references[] = {",
            *rows,
            "  {1, 0, 0, 1}};",
            "",
        )
    )


def _c_float(value: float) -> str:
    return f"{float(np.float32(value)).hex()}f"
