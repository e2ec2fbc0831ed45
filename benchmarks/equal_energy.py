"""Latency at equal energy kept: the rules' plan beside one scheme everywhere, without training.

Each network is pruned by magnitude to the fastest plan that keeps a share of its weights' energy, once with all schemes
open to the rules and once per family with nothing but its own; the densities of the layers are allocated alike. Every
network is compiled, tuned, verified and timed beside our dense program and ONNX Runtime. Trained weights: the networks
for CIFAR-10 whose dense checkpoint is committed, EfficientNet-Lite0 and the thin ResNet-50 of OpenNSFW (from the
packages of real_files.py); random ones: the networks of networks.py, whose energy says little about accuracy. The
latency table that decides is measured first, as far as it is not there. Rows that the result file has are not measured
again.

    .venv/bin/python benchmarks/equal_energy.py [--quick] [--only REGEX] [--table LATENCY.json]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from cases import Case
from cifar10_latency import exported
from real_cases import NETWORKS as REAL
from rich.console import Console
from rows import Result, Row, Run, measure_rows, measured_table, options_parser, table_file
from zoo import LARGE, dense_model

from prunemap.benchmarking import TOLERANCE, bench, open_subject
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import now
from prunemap.mapping import Budget, map_model
from prunemap.report.text import milliseconds, new_table, percent, times

ENERGIES = (0.9, 0.8)
"""Least mean over the prunable layers of Σ kept w² / Σ w², as `map` counts it."""
CIFAR = ("resnet20", "vgg16-half", "mobilenetv2")
RULES = "rules"
BAR = 1.73
"""How many times as fast as ``pattern`` the rules are to be."""


def _pattern(setting: LayerSetting) -> str:
    return "pattern" if setting.kernel == (3, 3) else "unstructured"


FAMILIES: Mapping[str, Callable[[LayerSetting], str] | None] = {
    RULES: None,
    "pattern": _pattern,
    "unstructured": lambda _: "unstructured",
    "punched:4x1": lambda _: "punched:4x1",
    "punched:8x4": lambda _: "punched:8x4",
    "filter": lambda _: "filter",
}
"""The one scheme that a layer may have beside dense; ``pattern``: on 3x3, unstructured elsewhere."""


class EnergyRow(Row):
    """A network pruned by a family. Shares are 0 to 1."""

    network: str
    family: str
    asked_energy: float
    energy_kept: float
    """As `map` counts it: layers that read lost filters lose, too."""
    macs_kept: float
    """Of the prunable layers."""
    schemes: dict[str, int]
    """How many layers have each."""
    predicted_ms: float
    ours_ms: float
    p10_ms: float
    p90_ms: float
    over_onnxruntime: float
    """How many times faster than ONNX Runtime on the dense network."""
    over_dense: float
    """Than our dense program, in the same rounds."""
    max_relative_error: float
    rounds: int
    versions: dict[str, str]


def allowed(table: LatencyTable, family: str) -> LatencyTable:
    """Return the table with what a family may choose."""
    scheme_of = FAMILIES[family]
    if scheme_of is None:
        return table
    measured: dict[LayerSetting, set[SchemeSpec]] = {}
    for point in table.points:
        measured.setdefault(point.setting, set()).add(point.scheme)
    wanted = {setting: _own(scheme_of(setting), schemes) for setting, schemes in measured.items()}
    points = tuple(point for point in table.points if point.scheme in (DENSE, *wanted[point.setting]))
    if all(point.scheme == DENSE for point in points):
        raise SystemExit(f"{family}: the table has none of its schemes")
    return table.model_copy(update={"points": points})


def _own(scheme: str, measured: Iterable[SchemeSpec]) -> list[SchemeSpec]:
    """Return a scheme, or, of very large layers, which have few block sizes, the others of its name."""
    alike = [each for each in measured if each.name == SchemeSpec.parse(scheme).name]
    return [each for each in alike if str(each) == scheme] or alike


def models() -> dict[str, Callable[[], Path]]:
    """Return what makes the ONNX file of each network."""
    real = {network.name: network for network in REAL if network.name in ("efficientnet-lite0", "open-nsfw")}
    return {
        **{f"{name}-cifar": partial(exported, f"{name}-dense-s0") for name in CIFAR},
        **{name: partial(Case(network, "").model, Path("runs") / "real") for name, network in real.items()},
        **{name: partial(dense_model, name) for name in LARGE},
    }


def measure(network: str, model: Callable[[], Path], energy: float, family: str, path: Path, run: Run) -> EnergyRow:
    """Map, prune, compile, verify and time."""
    dense = model()
    table = allowed(measured_table(path, [dense], run), family)
    found = map_model(dense, table, Budget(keep_energy=energy))
    with TemporaryDirectory(prefix="prunemap-") as folder:
        pruned = Path(folder) / f"{network}.onnx"
        write_pruned(dense, found.plan, pruned)
        subject = replace(open_subject(pruned, run.threads, tune=not run.quick), dense=dense)
        result = bench(subject, ("onnxruntime", "dense"), effort=run.effort)
    if result.max_relative_error > TOLERANCE:
        raise SystemExit(f"{network} {family}: wrong by {result.max_relative_error:.2g}")
    ours = next(each for each in result.results if each.engine == "prunemap")
    return EnergyRow(
        name=row_name(network, energy, family),
        network=network,
        family=family,
        asked_energy=energy,
        energy_kept=found.energy_kept,
        macs_kept=found.density,
        schemes=dict(Counter(str(layer.scheme) for layer in found.plan.layers)),
        predicted_ms=found.latency_us / 1e3,
        ours_ms=ours.median_ms,
        p10_ms=ours.p10_ms,
        p90_ms=ours.p90_ms,
        over_onnxruntime=result.ratios["onnxruntime"],
        over_dense=result.ratios["dense"],
        max_relative_error=result.max_relative_error,
        rounds=result.rounds,
        versions=result.versions,
        command=run.command,
        date=now(),
    )


def row_name(network: str, energy: float, family: str) -> str:
    return f"{network} energy={energy:g} {family}"


def print_result(result: Result[EnergyRow], console: Console) -> None:
    """Print each row beside the rules' of the same network and energy."""
    headers = ("network, energy, family", "energy", "MACs", "predicted, ms", "ms", "x ORT", "x dense", "rules faster")
    table = new_table("latency at equal energy kept", *headers)
    rows = {row.name: row for row in result.rows}
    for row in result.rows:
        rules = rows.get(row_name(row.network, row.asked_energy, RULES))
        over_rules = None if rules is None or rules is row else rules.over_dense / row.over_dense
        table.add_row(
            row.name,
            *map(percent, (row.energy_kept, row.macs_kept)),
            *map(milliseconds, (row.predicted_ms, row.ours_ms)),
            *map(times, (row.over_onnxruntime, row.over_dense)),
            "" if over_rules is None else times(over_rules),
        )
    console.print(table)
    console.print(f"asked for: the rules {times(BAR)} faster than pattern")


def main() -> None:
    parser = options_parser(__doc__, "mobilenetv2.*0.8")
    parser.add_argument("--table", type=Path, help="latency table; default: in runs/benchmarks, that of predict.py")
    options = parser.parse_args()
    run = Run.of(options, "equal-energy")
    path = options.table or table_file(run)
    measurements = {
        row_name(network, energy, family): partial(measure, network, model, energy, family, path)
        for (network, model), energy, family in product(models().items(), ENERGIES, FAMILIES)
    }
    measure_rows(run, Result[EnergyRow], measurements, print_result)


if __name__ == "__main__":
    main()
