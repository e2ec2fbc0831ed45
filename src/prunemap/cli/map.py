"""prunemap map"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from prunemap.cli.map_search import (
    DEFAULTS,
    SearchOptions,
    check_no_search_options,
    search_by_options,
    with_search_options,
)
from prunemap.cli.options import AnyModel, Cc, Json, Output, Shapes, parse_shapes, show
from prunemap.core.latency_table import LatencyTable
from prunemap.core.sensitivity import Sensitivity
from prunemap.core.value import read_json, write_json

if TYPE_CHECKING:  # a verb imports what it needs when it is called
    from prunemap.mapping import MapRequest

Latency = Annotated[Path, typer.Option("--latency", help="latency.json of `prunemap profile`.", show_default=False)]
Density = Annotated[
    float | None, typer.Option("--density", help="Budget: kept / all MACs of the prunable layers.", show_default=False)
]
LatencyMs = Annotated[
    float | None, typer.Option("--latency-ms", help="Budget: predicted milliseconds.", show_default=False)
]
KeepEnergy = Annotated[
    float | None,
    typer.Option("--keep-energy", help="Budget: least mean share of the weights' energy.", show_default=False),
]
SensitivityFile = Annotated[
    Path | None,
    typer.Option(
        "--sensitivity",
        help="sensitivity.json of `prunemap sensitivity`: sensitive layers keep more.",
        show_default=False,
    ),
]
Beta = Annotated[
    float | None,
    typer.Option(
        "--beta",
        help="How much slower than coarse pruning a scheme may be; default: 0.2 with --density, else no limit.",
        show_default=False,
    ),
]
Method = Annotated[str, typer.Option("--method", help="rules (training-free) or search (trains).")]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Estimate layers that the table lacks from others of their kind.")
]
Force = Annotated[bool, typer.Option("--force", help="Use a table whose layers were compiled by another compiler.")]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        help="Layers that stay dense: a name, a glob, re:REGEX, or a kind such as linear. Repeatable.",
        show_default=False,
    ),
]

SEARCH = "search"


@with_search_options
def map_(
    context: typer.Context,
    model: AnyModel,
    latency: Latency,
    output: Output,
    density: Density = None,
    latency_ms: LatencyMs = None,
    keep_energy: KeepEnergy = None,
    sensitivity: SensitivityFile = None,
    ignore: Ignore = None,
    beta: Beta = None,
    method: Method = "rules",
    search: SearchOptions = DEFAULTS,
    shape: Shapes = None,
    cc: Cc = None,
    force: Force = False,
    estimate: Estimate = False,
    json: Json = False,
) -> None:
    """Choose scheme, block size and density of every layer for a measured device and a budget, into a plan."""
    from prunemap.core.files import check_writable
    from prunemap.errors import UserError
    from prunemap.mapping import MAPPERS, Budget
    from prunemap.mapping.map_model import make_request
    from prunemap.report import plan_tables
    from prunemap.sources import onnx_file

    if method not in (*MAPPERS, SEARCH):
        raise UserError(f"--method: got {method!r}, allowed are {', '.join((*MAPPERS, SEARCH))}")
    mapper = MAPPERS.get(method)
    if mapper is not None:
        check_no_search_options(context, method)
    check_writable(output)
    table = read_json(latency, LatencyTable, "--latency")
    file = onnx_file(model)
    request = make_request(
        file,
        table,
        Budget(density, latency_ms, keep_energy),
        beta=beta,
        sensitivity=read_json(sensitivity, Sensitivity, "--sensitivity") if sensitivity else None,
        shapes=parse_shapes(shape),
        cc=cc,
        force=force,
        estimate=estimate,
        ignore=ignore or (),
    )
    _say_notes(request, file, latency)
    if mapper is None:
        search_by_options(file, request, output, search, json, parse_shapes(shape), cc)
        return
    result = mapper.map(request)
    write_json(output, result.plan)
    show(result, *plan_tables(result), as_json=json)
    if latency_ms is not None and result.dense_latency_us <= 1e3 * latency_ms:
        _say(f"the dense network is within the budget: predicted {result.dense_latency_us / 1e3:.3g} ms")


def _say(line: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def _say_notes(request: MapRequest, model: Path, latency: Path) -> None:
    """Say on stderr what to know of the table: of which machine it is, what was odd, lacks, or is estimated."""
    from prunemap.mapping.conditions import other_machine, other_version

    table, predictor = request.table, request.predictor()
    for other in (other_machine(table), other_version(table)):
        if other is not None:
            _say(other)
    for note in table.notes:
        _say(f"the latency table says: {note}")
    adding = f"what adds it: {table.profile_command(str(model), str(latency))}"
    if request.estimate:
        adding += ", or in a minute, without its layers, with --networks-only"
    if not predictor.has_network:
        _say(
            "the latency table does not have this network as a whole: its latencies are those of the layers alone, "
            f"without what lies between them; {adding}"
        )
    settings = {layer.spec.name: layer.spec.setting for layer in request.layers if layer.spec.name not in request.fixed}
    bare = [name for name, setting in settings.items() if setting is not None and not predictor.schemes(setting)]
    if bare:
        _say(f"dense for want of measurements, no scheme was measured for {', '.join(bare)}; {adding}")
    for line in predictor.describe_estimates(layer.spec.setting for layer in request.layers):
        _say(line)
