"""prunemap profile"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prunemap.cli.options import (
    Cc,
    DeviceName,
    Json,
    Output,
    Seed,
    Shapes,
    TargetName,
    Threads,
    numbers,
    parse_shapes,
    parts,
    refuse_options,
    show,
)
from prunemap.cli.there import timer_there
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError

Schemes = Annotated[
    str,
    typer.Option(
        "--schemes",
        help="With commas; default: unstructured,pattern,punched:2x1,punched:4x1,punched:8x4,punched:16x4,block:8x4,"
        "filter.",
        show_default=False,
    ),
]
Densities = Annotated[str, typer.Option("--densities", help="With commas; default: 0.05,0.2,0.5.", show_default=False)]
Models = Annotated[
    list[Path] | None, typer.Argument(help="ONNX files, or .pt2.", metavar="MODEL.onnx|.pt2…", show_default=False)
]
Grid = Annotated[bool, typer.Option("--grid", help="Measure usual layers too, for networks that are not there yet.")]
NetworksOnly = Annotated[
    bool,
    typer.Option(
        "--networks-only",
        help="Time the models as wholes, not their layers: `map --estimate` takes these from others.",
    ),
]
Check = Annotated[
    bool, typer.Option("--check", help="Add nothing: compare what the table predicts with new measurements.")
]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="With --check: estimate layers that the table lacks, as `map` does.")
]
Force = Annotated[bool, typer.Option("--force", help="Add to a table of another machine or compiler.")]
OF_LAYERS = ("schemes", "densities")
NOT_WITH_CHECK = (*OF_LAYERS, "grid", "networks_only", "force", "device")


def profile(
    context: typer.Context,
    output: Output,
    models: Models = None,
    schemes: Schemes = "",
    densities: Densities = "",
    grid: Grid = False,
    networks_only: NetworksOnly = False,
    check: Check = False,
    estimate: Estimate = False,
    force: Force = False,
    device: DeviceName = None,
    target: TargetName = "native",
    shape: Shapes = None,
    cc: Cc = None,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Measure this machine, or a device: every distinct layer of the models × scheme × density, into a latency table.

    What the table has is not measured again; after Ctrl-C the same command goes on.
    """
    from prunemap.benchmarking import check_table
    from prunemap.latency import DEFAULT_DENSITIES, DEFAULT_SCHEMES, LocalTimer, profile_models
    from prunemap.report import check_tables, latency_tables
    from prunemap.sources import onnx_file

    if check:
        why = "--check: it adds nothing to the table and measures on this machine; not allowed with it is"
        refuse_options(context, why, NOT_WITH_CHECK)
    elif estimate:
        raise UserError("--estimate: it says how a table is checked; allowed is it with --check")
    elif networks_only and not grid:
        refuse_options(context, "--networks-only: it measures no layers; not allowed with it is", OF_LAYERS)
    paths = [onnx_file(model) for model in models or ()]
    if check:
        timer = LocalTimer(threads, target, cc, seed)
        checked = check_table(paths, output, timer, shapes=parse_shapes(shape), seed=seed, estimate=estimate)
        show(checked, *check_tables(checked), as_json=json)
        return
    table = profile_models(
        paths,
        output,
        schemes=[SchemeSpec.parse(each) for each in parts(schemes)] or DEFAULT_SCHEMES,
        densities=numbers(densities, "--densities") or DEFAULT_DENSITIES,
        shapes=parse_shapes(shape),
        timer=timer_there(device, threads, target, cc, seed) if device else LocalTimer(threads, target, cc, seed),
        command=shlex.join(["prunemap", *sys.argv[1:]]),
        grid=grid,
        networks_only=networks_only,
        force=force,
    )
    show(table, *latency_tables(table), as_json=json)
