"""What ARM cores may take for whole networks, from the model of their inner loops: an estimate, not a measurement.

    .venv/bin/python benchmarks/arm_model.py
    .venv/bin/python benchmarks/arm_estimate.py

Every layer × scheme × density takes as long as its multiply-adds at the rate that llvm-mca gives the loop of its family
(arm_model.py), or as long as its weights and maps take from memory, whichever is longer; clocks and bandwidths are
assumed (CORES). Starts of tiles, caches and what lies between layers are not seen, so real cores are slower. The
estimates are written as latency tables too, runs/benchmarks/latency-arm-CORE.json, so that `map` and device_decides.py
can say what such a core would have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from arm_model import RESULT as MODEL
from arm_model import ArmModel
from rich.console import Console
from zoo import LARGE, RESULTS, WORK, dense_model, layer_settings

from prunemap.compiler import read_layers
from prunemap.core.files import write_text
from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSetting
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import Value, read_json, write_json
from prunemap.latency import Predictor, make_probes
from prunemap.mapping import Budget, map_model
from prunemap.report.text import milliseconds, new_table
from prunemap.schemes import legal_schemes

RESULT = RESULTS / "arm-estimate.json"
COMMAND = "python benchmarks/arm_estimate.py"
NOTE = "an estimate from a model of inner loops (llvm-mca), not a measurement: no ARM core has run this"
VECTOR = 4
"""fp32 values that a vector multiply-add takes."""
DENSITY = 0.2
EVERYWHERE = tuple(map(SchemeSpec.parse, ("punched:8x4", "block:8x4")))


@dataclass(frozen=True)
class Core:
    """A core as it is assumed to be."""

    target: str
    model: str
    """Of llvm-mca."""
    most: float
    """Vector multiply-adds per cycle by ARM's guide; llvm-mca lets the A55 do two."""
    gigahertz: float
    gigabytes_s: float
    """From memory, by one core."""


CORES = (
    Core("cortex-a55", "cortex-a55", 1, 1.8, 4),
    Core("cortex-a76", "neoverse-n1", 2, 2.4, 10),
    Core("cortex-x1", "neoverse-v1", 4, 2.8, 20),
)


class Estimate(Value):
    """A network on a core."""

    network: str
    core: str
    gigahertz: float
    gigabytes_s: float
    dense_ms: float
    punched_ms: float
    """Blocks of eight rows in every layer that can have them, at a fifth."""
    rules_ms: float
    """The plan of `map` for this table, at a fifth of the multiply-accumulates."""


class ArmEstimate(Value):
    """The result file."""

    note: str = NOTE
    command: str = COMMAND
    rows: tuple[Estimate, ...]


def family_of(setting: LayerSetting, scheme: SchemeSpec) -> str:
    """Return the family of arm_model.py whose loop runs such a layer."""
    few_rows = scheme.block is not None and scheme.block[0] < 8
    if setting.kind == "depthwise":
        stride = ", stride 2" if max(setting.stride) > 1 else ""
        return "depthwise 5x5" if max(setting.kernel) > 3 else f"depthwise 3x3{stride}"
    if setting.kind == "linear":
        is_whole = scheme == DENSE or scheme.name == "filter"
        return "linear, dense" if is_whole else f"linear, {'block of 8' if scheme.block else 'unstructured'}"
    if scheme.name == "pattern":
        return "pattern"
    if scheme.name == "unstructured":
        return "unstructured, 4 filters"
    if few_rows:
        return "punched 4 filters"
    return "punched 8 filters, 1x1" if prod(setting.kernel) == 1 else "punched 8 filters"


def latency_us(core: Core, rates: dict[str, float], setting: LayerSetting, scheme: SchemeSpec, density: float) -> float:
    """Return what a layer takes: its multiply-adds, or what it moves."""
    cycles = setting.macs * density / VECTOR / rates[family_of(setting, scheme)]
    moved = 4 * (prod(setting.weight_shape) * density + prod(setting.in_shape) + prod(setting.out_shape))
    return max(cycles / core.gigahertz / 1e3, moved / core.gigabytes_s / 1e3)


def estimated_table(core: Core, model: ArmModel, settings: Iterable[LayerSetting]) -> LatencyTable:
    """Return the table that `profile` would write there, if the model were the core."""
    rates = {row.family: min(row.per_cycle, core.most) for row in model.rows if row.model == core.model}
    points = []
    for probe in make_probes([*settings]):
        us = latency_us(core, rates, probe.setting, probe.scheme, probe.density)
        times = {"median_us": us, "p10_us": us, "p90_us": us, "runs": 1}
        points.append(LatencyPoint(setting=probe.setting, scheme=probe.scheme, density=probe.density, **times))
    cpu = f"{core.target} as {core.model} of llvm-mca, a model"
    machine = Machine(cpu=cpu, arch="aarch64", cores=1, system="none", target=core.target, compiler=model.compiler)
    return LatencyTable(machine=machine, threads=1, command=COMMAND, points=tuple(points), notes=(NOTE,))


def everywhere_ms(plan: Plan, settings: dict[str, LayerSetting], table: LatencyTable) -> float:
    """Return what blocks everywhere take, but in the layers that the plan of the rules keeps dense."""
    predictor, total = Predictor(table), 0.0
    for entry in plan.layers:
        setting = settings[entry.name]
        legal = [each for each in predictor.schemes(setting) if each.name in {s.name for s in EVERYWHERE}]
        wanted = [each for each in legal_schemes(setting.weight_shape, EVERYWHERE) if each in legal] or legal
        pruned = setting.kind != "depthwise" and entry.scheme != DENSE and wanted
        total += predictor.latency_us(setting, wanted[0] if pruned else DENSE, DENSITY if pruned else 1.0)
    return total / 1e3


def estimate(network: str, core: Core, table: LatencyTable) -> Estimate:
    """Return what a network takes on a core."""
    model = dense_model(network)
    found = map_model(model, table, Budget(density=DENSITY))
    settings = {layer.spec.name: layer.spec.setting for layer in read_layers(model)}
    return Estimate(
        network=network,
        core=core.target,
        gigahertz=core.gigahertz,
        gigabytes_s=core.gigabytes_s,
        dense_ms=found.dense_latency_us / 1e3,
        punched_ms=everywhere_ms(found.plan, settings, table),
        rules_ms=found.latency_us / 1e3,
    )


def main() -> None:
    model = read_json(MODEL, ArmModel, "arm_model.py")
    settings, rows = layer_settings(LARGE), []
    for core in CORES:
        table = estimated_table(core, model, settings)
        write_json(Path(WORK) / f"latency-arm-{core.target}.json", table)
        rows += [estimate(network, core, table) for network in LARGE]
    write_text(RESULT, ArmEstimate(rows=tuple(rows)).to_json() + "\n")
    shown = new_table("ARM cores, estimated, ms", "network", "core", "dense", "punched, 20 %", "rules, 20 %", left=2)
    for row in rows:
        shown.add_row(row.network, row.core, *map(milliseconds, (row.dense_ms, row.punched_ms, row.rules_ms)))
    Console(width=100).print(shown, NOTE)


if __name__ == "__main__":
    main()
