"""How far the device decides: the layers to which the rules give another scheme for another latency table.

The tables are of the same networks, measured under different conditions, such as vector width and threads:

    for t in x86-64-v4 x86-64-v3; do for n in 1 2; do
        prunemap profile runs/benchmarks/{resnet50,vgg16,mobilenetv2}-dense.onnx \\
            --target $t --threads $n -o runs/benchmarks/latency-$t-$n.json
    done; done
    .venv/bin/python benchmarks/device_decides.py --table v4-1=runs/benchmarks/latency-x86-64-v4-1.json \\
        --table v3-1=runs/benchmarks/latency-x86-64-v3-1.json [--table …] [--only REGEX]

Tables of other networks of equal_energy.py serve as well (``--networks``). What not every table has of a layer's
schemes is left out of all, so that the devices alone differ. Every pair of tables is compared at equal density budgets.
A row also says what a plan costs on the wrong device: the latency that the table of one predicts for the plan of the
other, as a multiple of its own plan's; both keep as many MACs, and the energy that each keeps stands beside it.

How much of that is noise, a pair of tables says that were measured under the same conditions, one after the other
(v4-1 and v4-1-again): read the other pairs beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from itertools import combinations
from pathlib import Path

from equal_energy import models
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from zoo import LARGE

from prunemap.compiler import ModelLayer
from prunemap.core.latency_table import LatencyTable
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value, now, read_json
from prunemap.errors import UserError
from prunemap.latency import PlanLatency
from prunemap.mapping import Budget, MapRequest, MapResult, Rules
from prunemap.mapping.map_model import make_request
from prunemap.report.text import new_table, percent, times

DENSITIES = (0.1, 0.2, 0.4)
MIN_TABLES = 2


class Conditions(Value):
    """What a table was measured under."""

    name: str
    target: str
    compiler: str
    threads: int
    points: int
    command: str


class Difference(Value):
    """A layer that the two tables give different schemes."""

    layer: str
    first: SchemeSpec
    second: SchemeSpec


class PairRow(Row):
    """Two tables, one network, one budget."""

    network: str
    density: float
    first: Conditions
    second: Conditions
    layers: int
    """That may be pruned."""
    schemes_differ: int
    """Scheme or block size."""
    regularities_differ: int
    """Scheme, whatever the block size."""
    differences: tuple[Difference, ...]
    energy_first: float
    energy_second: float
    first_on_second: float | None
    """Latency of the first table's plan on the second device / that of the second's own plan; None where the second
    table lacks a scheme of the plan."""
    second_on_first: float | None


class Plans:
    """The rule plans of a network; its weights are read once."""

    def __init__(self, tables: Mapping[str, LatencyTable]) -> None:
        self.tables = tables
        self.read = lru_cache(maxsize=1)(self._read)  # of one network at a time: they are large
        self.plan = cache(self._plan)

    def _read(self, network: str) -> MapRequest:
        """Return the question about a network, by the first table."""
        # Nothing is compiled here, so the compiler of the tables need not be that of this machine.
        table = next(iter(self.tables.values()))
        return make_request(models()[network](), table, Budget(density=DENSITIES[0]), force=True)

    def _plan(self, network: str, name: str, density: float) -> MapResult:
        request = replace(self.read(network), table=self.tables[name], budget=Budget(density=density))
        return Rules().map(request)

    def conditions(self, name: str) -> Conditions:
        """Return what a table was measured under."""
        table = self.tables[name]
        return Conditions(
            name=name,
            target=table.machine.target,
            compiler=table.machine.compiler,
            threads=table.threads,
            points=len(table.points),
            command=table.command,
        )


def latency_ms(plan: Plan, layers: Sequence[ModelLayer], table: LatencyTable) -> float | None:
    """Return what a table predicts for a plan; None where it lacks one of the schemes."""
    try:
        return PlanLatency(table, [layer.spec for layer in layers], plan)()
    except UserError:
        return None


def compare(plans: Plans, network: str, density: float, pair: tuple[str, str], name: str, run: Run) -> PairRow:
    """Map by both tables and compare."""
    first, second = (plans.plan(network, each, density) for each in pair)
    tables, layers = [plans.tables[each] for each in pair], plans.read(network).layers
    prunable = sum(bool(each.rated) for each in first.decisions)
    different = [
        Difference(layer=a.name, first=a.scheme, second=b.scheme)
        for a, b in zip(first.plan.layers, second.plan.layers, strict=True)
        if a.scheme != b.scheme
    ]

    def on_wrong(plan: Plan, own: Plan, table: LatencyTable) -> float | None:
        wrong_ms, own_ms = (latency_ms(each, layers, table) for each in (plan, own))
        return None if wrong_ms is None or own_ms is None else wrong_ms / own_ms

    return PairRow(
        name=name,
        network=network,
        density=density,
        first=plans.conditions(pair[0]),
        second=plans.conditions(pair[1]),
        layers=prunable,
        schemes_differ=len(different),
        regularities_differ=sum(each.first.name != each.second.name for each in different),
        differences=tuple(different),
        energy_first=first.energy_kept,
        energy_second=second.energy_kept,
        first_on_second=on_wrong(first.plan, second.plan, tables[1]),
        second_on_first=on_wrong(second.plan, first.plan, tables[0]),
        command=run.command,
        date=now(),
    )


def measurements(plans: Plans, networks: Sequence[str]) -> dict[str, Callable[[Run], PairRow]]:
    """Return what makes each row, by its name."""
    found: dict[str, Callable[[Run], PairRow]] = {}
    for network in networks:
        for density in DENSITIES:
            for pair in combinations(plans.tables, 2):
                name = f"{network} density={density:g}: {pair[0]} / {pair[1]}"
                found[name] = partial(compare, plans, network, density, pair, name)
    return found


def print_result(result: Result[PairRow], console: Console) -> None:
    """Print a row per network, budget and pair."""
    headers = ("network, budget, tables", "layers", "schemes differ", "regularities", "energy", "wrong plan")
    caption = "wrong plan: latency of the other table's plan / of its own, on the second and on the first device"
    table = new_table("the device decides", *headers, caption=caption)
    for row in result.rows:
        wrong = " ".join("–" if each is None else times(each) for each in (row.first_on_second, row.second_on_first))
        counts = (str(row.layers), str(row.schemes_differ), str(row.regularities_differ))
        table.add_row(row.name, *counts, f"{percent(row.energy_first)} {percent(row.energy_second)}", wrong)
    console.print(table)


def read_tables(given: list[str]) -> dict[str, LatencyTable]:
    """Return the tables of ``NAME=FILE``.

    Raises:
        SystemExit: fewer than two, or one is not written so.
    """
    pairs = [each.partition("=") for each in given]
    if len({name for name, _, _ in pairs}) < max(MIN_TABLES, len(pairs)) or not all(path for _, _, path in pairs):
        raise SystemExit("--table: give at least two as NAME=FILE, with different names")
    return alike({name: read_json(Path(path), LatencyTable, "--table") for name, _, path in pairs})


def alike(tables: Mapping[str, LatencyTable]) -> dict[str, LatencyTable]:
    """Return the tables with those schemes of a layer that all of them have."""
    schemes = [{(point.setting, point.scheme) for point in table.points} for table in tables.values()]
    shared = set.intersection(*schemes)
    return {
        name: table.model_copy(
            update={"points": tuple(point for point in table.points if (point.setting, point.scheme) in shared)}
        )
        for name, table in tables.items()
    }


def main() -> None:
    parser = options_parser(__doc__, "resnet50 density=0.2")
    parser.add_argument("--table", action="append", default=[], metavar="NAME=FILE", help="of `prunemap profile`")
    parser.add_argument("--networks", nargs="+", choices=models(), default=LARGE)
    options = parser.parse_args()
    plans = Plans(read_tables(options.table))
    run = Run.of(options, "device-decides")
    measure_rows(run, Result[PairRow], measurements(plans, options.networks), print_result, width=140)


if __name__ == "__main__":
    main()
