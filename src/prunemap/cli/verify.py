"""prunemap verify"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.inputs import load_inputs
from prunemap.cli.options import AnyModel, Artifact, DeviceName, Given, Json, Seed, Threads, show

if TYPE_CHECKING:
    from prunemap.benchmarking.verify import Runs


def verify(
    artifact: Artifact,
    model: AnyModel,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Largest allowed relative error.")] = 1e-4,
    inputs: Given = None,
    device: DeviceName = None,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Check a compiled network against its ONNX model; exit code 1 if an output is off.

    The error of an output is its largest difference from ONNX Runtime (else the reference evaluator of ONNX), divided
    by the output's largest magnitude. Loading a .pmap
    executes the code in it: verify only files that you trust. With --device, the program runs there; --device qemu
    checks one for ARM64 without a board. See docs/devices.md.
    """
    from prunemap.report import verify_table
    from prunemap.runtime import load, read_program
    from prunemap.sources import verify as verify_program

    if device is None:
        opened: AbstractContextManager[Runs] = load(artifact, threads)
    else:
        from prunemap.devices import parse_device
        from prunemap.on_device import DeviceEngine, choose_place

        program = read_program(artifact)
        opened = DeviceEngine.open(choose_place(parse_device(device), threads), program)
    with opened as engine:
        batches = None if inputs is None else [load_inputs(inputs, engine.inputs)]
        result = verify_program(engine, model, batches, tolerance, seed)
    show(result, verify_table(result), as_json=json)
    if not result.passed:
        _say_if_of_another(artifact, model)
        raise typer.Exit(EXIT_FAILED_CHECK)


def _say_if_of_another(artifact: Path, model: Path) -> None:
    """Say on stderr what may be the reason of a failure: the program was compiled from another file."""
    from prunemap.compiler.onnx.source import model_sha256
    from prunemap.runtime import read_program

    manifest = read_program(artifact).manifest
    if model.suffix == ".onnx" and manifest.source_sha256 not in ("", model_sha256(model)):
        made_of = f" ({manifest.source_path})" if manifest.source_path else ""
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"note: {artifact} was compiled from another file{made_of}", markup=False)
