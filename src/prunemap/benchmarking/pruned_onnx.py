"""One-shot pruning of an ONNX file, and the proof that what was written compiles to what it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunemap.benchmarking.verify import VerifyResult, verify
from prunemap.compiler import compile_model
from prunemap.compiler.onnx.prune import PrunedLayer, write_pruned
from prunemap.core.plan import Plan
from prunemap.core.value import Value
from prunemap.errors import UnsupportedError
from prunemap.runtime import Engine


class OnnxPruning(Value):
    """The layers that were pruned, and how far the compiled program is off on random inputs."""

    layers: tuple[PrunedLayer, ...]
    verified: VerifyResult | None
    """None where the network cannot be compiled."""


def prune_onnx(
    model: str | Path, plan: Plan, output: str | Path, *, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> OnnxPruning:
    """Write an ONNX file with the weights that a plan prunes by magnitude set to zero; nothing else changes.

    Args:
        shapes: sizes of inputs with symbolic dimensions; they stay symbolic in the output.

    Raises:
        UserError: the model cannot be read, the plan does not fit it, or the output cannot be written.
    """
    layers = write_pruned(model, plan, output, shapes)
    try:
        program = compile_model(output, shapes=shapes, tune=None)
    except UnsupportedError:
        return OnnxPruning(layers=layers, verified=None)
    with Engine(program) as engine:
        return OnnxPruning(layers=layers, verified=verify(engine, output))
