"""prunemap bench"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.inputs import load_inputs
from prunemap.cli.options import (
    Cc,
    DeviceName,
    Fallback,
    Given,
    Json,
    NoTune,
    PlanFile,
    Seed,
    Shapes,
    TargetName,
    Threads,
    parse_shapes,
    parts,
    read_plan,
    show,
    typed_options,
)
from prunemap.cli.there import DeviceOptions, bench_there
from prunemap.core.table import look_up
from prunemap.errors import UserError

Sparsity = Annotated[
    str | None,
    typer.Option(
        "--sparsity",
        help="Prune a dense model by magnitude, without training, such as punched:8x4@0.1.",
        metavar="SCHEME@DENSITY",
        show_default=False,
    ),
]
Model = Annotated[
    Path, typer.Argument(help="A model or a compiled network.", metavar="MODEL.onnx|.pt2|.pmap", show_default=False)
]
Reference = Annotated[
    Path | None, typer.Option("--reference", help="The model of a .pmap; default: as it says.", show_default=False)
]
Vs = Annotated[
    str | None,
    typer.Option(
        "--vs",
        help="Engines to compare with: onnxruntime, openvino, dense; default: onnxruntime,dense; on a device: dense.",
        show_default=False,
    ),
]
Sustained = Annotated[
    float | None,
    typer.Option("--sustained", help="Run on the device for so many seconds, to see it throttle.", show_default=False),
]
PerLayer = Annotated[
    bool, typer.Option("--per-layer", help="Show every layer: time, kernel, share of the machine's limit.")
]


def bench(
    context: typer.Context,
    model: Model,
    vs: Vs = None,
    reference: Reference = None,
    plan: PlanFile = None,
    target: TargetName = "native",
    shape: Shapes = None,
    cc: Cc = None,
    no_tune: NoTune = False,
    sparsity: Sparsity = None,
    fallback: Fallback = None,
    per_layer: PerLayer = False,
    device: DeviceName = None,
    sustained: Sustained = None,
    inputs: Given = None,
    quick: Annotated[bool, typer.Option("--quick", help="10 rounds in half a second; the result says so.")] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Verify a network, then time it against other engines, interleaved in one run with equal threads.

    dense = the same ONNX compiled by prunemap with structure detection off. A ratio is theirs / ours, the median over
    the rounds: above 1, prunemap is faster. Exit code 1 if an output is off by more than 1e-4.
    Loading a .pmap executes the code in it: bench only files that you trust.

    With --sparsity, every convolution but the first and but depthwise ones, and every linear layer, is pruned: the
    speed, before any training, of a network whose accuracy is gone. The other engines run the dense original.

    With --device, the network is compiled for the device, sent there as a static program, checked and timed beside
    itself dense. See docs/devices.md.
    """
    from prunemap.benchmarking import ENGINES, QUICK, TOLERANCE, Effort, opened_subject
    from prunemap.benchmarking import bench as bench_subject
    from prunemap.report import bench_tables
    from prunemap.sources import EXPORTED, onnx_file

    compiled: dict[str, Any] = {"sparsity": sparsity, "reference": onnx_file(reference) if reference else None}
    compiled |= {"plan": read_plan(plan), "shapes": parse_shapes(shape), "cc": cc}
    if device is not None:
        options = DeviceOptions(device, threads, target, not no_tune, quick, per_layer, sustained, json, vs)
        given = typed_options(context)
        refused = {"inputs": inputs, "fallback": fallback, "seed": given.get("seed")}
        bench_there(model, options, refused, compiled)
        return
    if sustained is not None:
        raise UserError("--sustained: it needs a device: --device local is this machine")
    engines = [look_up(ENGINES, name, "--vs").name for name in parts("onnxruntime,dense" if vs is None else vs)]
    compiled |= {"target": target, "tune": not no_tune, "fallback": fallback}
    with opened_subject(onnx_file(model), threads, **compiled) as subject:
        batch = None if inputs is None else load_inputs(inputs, subject.program.manifest.inputs)
        command = shlex.join(["prunemap", *sys.argv[1:]])
        result = bench_subject(subject, engines, batch, QUICK if quick else Effort(), seed, command, per_layer)
    if model.suffix == EXPORTED:
        result = result.model_copy(update={"model": str(model)})
    show(result, *bench_tables(result), as_json=json)
    if not result.max_relative_error <= TOLERANCE:
        raise typer.Exit(EXIT_FAILED_CHECK)
