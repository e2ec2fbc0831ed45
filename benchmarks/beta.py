"""What a beta is worth: the energy that it keeps for the time that it costs, beside what a higher density gives.

The rules with a budget of density, at every density and beta, by one latency table; nothing is trained or timed. A
larger beta lets slower and finer schemes in, which keep more energy at equal density. So does a higher density. The
figure is energy gained per latency added, from one beta to the next, in points per percent; and of the density, from
one to the next at the default beta. A beta is worth it while it gains more than density does. The accuracies of some
of these plans, retrained, are rows of cifar10.py (``resnet20-rules_beta…``).

    .venv/bin/python benchmarks/beta.py [--table TABLE.json] [--only REGEX]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import pairwise
from math import inf
from pathlib import Path

from equal_energy import models
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from zoo import RESULTS

from prunemap.core.value import now
from prunemap.mapping import Budget, MapResult, Rules
from prunemap.mapping.map_model import make_request
from prunemap.mapping.mapper import DEFAULT_BETA
from prunemap.report.text import new_table, percent

NETWORKS = ("resnet20-cifar", "vgg16-half-cifar")
DENSITIES = (0.1, 0.2, 0.4)
BETAS = (0.0, 0.05, 0.1, 0.2, 0.5)
TABLE = RESULTS / "latency-cifar10-x86-64-v3-2026-11-29.json"


class BetaRow(Row):
    """A network by the rules at one density and beta."""

    network: str
    density: float
    beta: float
    latency: float
    """Predicted, as a share of the dense network's."""
    energy_kept: float
    schemes: Mapping[str, int]
    """How many layers have each."""


@cache
def planned(network: str, table: Path, density: float, beta: float) -> MapResult:
    # Nothing is compiled here, so the compiler of the table need not be that of this machine.
    return Rules().map(make_request(models()[network](), table, Budget(density=density), beta=beta, force=True))


def measure(network: str, density: float, beta: float, table: Path, name: str, run: Run) -> BetaRow:
    """Map once."""
    result = planned(network, table, density, beta)
    return BetaRow(
        name=name,
        network=network,
        density=density,
        beta=beta,
        latency=result.latency_us / result.dense_latency_us,
        energy_kept=result.energy_kept,
        schemes=Counter(str(layer.scheme) for layer in result.plan.layers),
        command=run.command,
        date=now(),
    )


def gain(before: BetaRow, after: BetaRow) -> float:
    """Return the points of energy gained per percent of latency added; infinite where none is added."""
    added = after.latency / before.latency - 1
    return (after.energy_kept - before.energy_kept) / added if added > 0 else inf


def print_result(result: Result[BetaRow], console: Console) -> None:
    """Print the rows, and behind each what it gains over the beta before it and the density below."""
    table = new_table("what a beta is worth", "network", "MACs", "β", "latency / dense", "energy", "by β", "by MACs")
    rows = {(row.network, row.density, row.beta): row for row in result.rows}
    below = {density: lower for lower, density in pairwise(DENSITIES)}
    before = {beta: lower for lower, beta in pairwise(BETAS)}
    for (network, density, beta), row in sorted(rows.items()):
        smaller = rows.get((network, density, before.get(beta, inf)))
        sparser = rows.get((network, below.get(density, inf), beta)) if beta == DEFAULT_BETA else None
        gains = ("" if each is None else f"{gain(each, row):.2f}" for each in (smaller, sparser))
        table.add_row(network, percent(density), f"{beta:g}", f"{row.latency:.3f}", percent(row.energy_kept), *gains)
    console.print(table)
    console.print("gains in points of energy per percent of latency, over the β before and over the density below")


def measurements(table: Path) -> dict[str, Callable[[Run], BetaRow]]:
    """Return what measures each row, by its name."""
    cases = [(n, d, b) for n in NETWORKS for d in DENSITIES for b in BETAS]
    return {
        name: partial(measure, network, density, beta, table, name)
        for network, density, beta in cases
        for name in [f"{network}@{density:g}-beta{beta:g}"]
    }


def main() -> None:
    parser = options_parser(__doc__, "resnet20")
    parser.add_argument("--table", type=Path, default=TABLE, help=f"default: {TABLE.name}")
    options = parser.parse_args()
    measure_rows(Run.of(options, "beta"), Result[BetaRow], measurements(options.table), print_result)


if __name__ == "__main__":
    main()
