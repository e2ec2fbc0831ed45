"""Tiny run folders, as ``prunemap demo`` and ``prunemap prune --recipe`` leave them."""

from __future__ import annotations

from pathlib import Path

from prunemap.benchmarking import LayerResult
from prunemap.compiler import read_specs
from prunemap.core.latency_table import LatencyPoint, LatencyTable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import ModelIdentity, Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityConditions, SensitivityRow
from prunemap.core.value import write_json
from prunemap.pruning import EpochRecord, History, LayerRate, ModelInfo, PrunedRates, TrainConfig, TrainReport
from prunemap.pruning.recipes.recipe import LayerRule, Recipe, RecipeModel
from prunemap.pruning.recipes.summary import SeedResult, summarise
from prunemap.pruning.training.epoch_log import EpochLog, LogRow
from prunemap.pruning.training.train_config import Schedule
from tests.networks import residual_network, save
from tests.unit.report.search_records import search_record
from tests.unit.report.test_tables import MACHINE, benched, verified

PUNCHED, FILTER = SchemeSpec("punched", (8, 4)), SchemeSpec("filter")
DENSITY, DENSE_US = 0.25, 40.0
HOSTILE = "<script>alert('&')</script>"


def demo_folder(folder: Path) -> Path:
    """A whole run of the demo; the second layer is pruned."""
    folder.mkdir(parents=True, exist_ok=True)
    specs = read_specs(save(residual_network(scheme="dense"), folder / "dense.onnx"))
    write_json(folder / "plan.json", plan_of(specs))
    write_json(folder / "latency.json", table_of(specs, f"prunemap profile {folder.resolve()}/dense.onnx"))
    slots = [
        LayerResult(name=f"{specs[1].name}{step}", kernel="k", layer=specs[1].name, median_us=us)
        for step, us in (("/in", 1.5), ("", 9.0))
    ]
    bench = {
        "layers": tuple(slots),
        "model": str(folder.resolve() / "pruned.onnx"),
        "command": "prunemap bench /data/secret/x.pmap",
    }
    write_json(folder / "bench.json", benched().model_copy(update=bench))
    write_json(folder / "verify.json", verified())
    write_json(folder / "sensitivity.json", sensitivity_of(specs))
    write_json(folder / "search.json", search_record(layer=specs[1].name))
    write_stages(folder, specs[1].name)
    (folder / "dense.pmap").write_bytes(bytes(3000))
    (folder / "pruned.pmap").write_bytes(bytes(1000))
    return folder


def recipe_folder(folder: Path) -> Path:
    """A recipe of two seeds, the second one interrupted: of it there is only the log."""
    folder.mkdir(parents=True, exist_ok=True)
    rule = LayerRule(match="c*", scheme=PUNCHED, density=DENSITY)
    model = RecipeModel(name="/data/secret/net.py:make")
    write_json(folder / "recipe.json", Recipe(model=model, layers=(rule,), dense=Schedule(epochs=2), seeds=(0, 1)))
    for seed in (0, 1):
        place = folder / f"seed-{seed}"
        place.mkdir(exist_ok=True)
        rows = [LogRow(phase=phase, epoch=n, loss=1 / n, held_out_accuracy=0.4 + n / 10, lr=0.1, density=density)
                for phase, density in (("dense", 1.0), ("retrain", 0.2)) for n in (1, 2)]  # fmt: skip
        EpochLog(place).write(rows)
    write_stages(folder / "seed-0", "c2")
    results = [
        SeedResult(seed=seed, dense=0.9, pruned=0.88 + seed / 100, macs_kept=0.3, weights_kept=0.4) for seed in (0, 1)
    ]
    write_json(folder / "summary.json", summarise("/data/secret/net.py:make", "stripes", 400, results, rates("c2")))
    return folder


def plan_of(specs: list[LayerSpec]) -> Plan:
    layers = [
        PlanLayer.of(spec, PUNCHED, DENSITY, f"4.0x faster {HOSTILE}")
        if i == 1
        else PlanLayer.of(spec, DENSE, 1.0, "first")
        for i, spec in enumerate(specs)
    ]
    return Plan(model=ModelIdentity(name="residual"), layers=tuple(layers))


def table_of(specs: list[LayerSpec], command: str) -> LatencyTable:
    settings = dict.fromkeys(spec.setting for spec in specs if spec.setting is not None)
    rows = [(DENSE, 1.0, DENSE_US), (PUNCHED, 0.1, 6.0), (PUNCHED, 0.4, 14.0), (FILTER, 0.1, 8.0), (FILTER, 0.9, 300.0)]
    points = [
        LatencyPoint(setting=setting, scheme=scheme, density=density, median_us=us, p10_us=us, p90_us=us, runs=5)
        for setting in settings
        for scheme, density, us in rows
    ]
    return LatencyTable(machine=MACHINE, threads=1, command=command, date="2026-11-24", points=tuple(points))


def sensitivity_of(specs: list[LayerSpec]) -> Sensitivity:
    """The second layer costs 30 points at a density of 10 %, the third nothing."""
    conditions = SensitivityConditions(weights_sha256="", dataset="stripes", images=500, images_sha256="")
    rows = tuple(
        SensitivityRow(
            layer=spec.name,
            kind=spec.kind,
            weight_shape=spec.weight_shape,
            scheme=PUNCHED,
            density=density,
            energy_kept=density,
            accuracy=0.9 - lost,
            loss=0.3 + lost,
        )
        for spec, worst in ((specs[2], 0.0), (specs[1], 0.3))
        for density, lost in ((0.1, worst), (0.5, worst / 30))
    )
    return Sensitivity(
        model=ModelIdentity(), conditions=conditions, baseline_accuracy=0.9, baseline_loss=0.3, rows=rows
    )


def write_stages(folder: Path, pruned_layer: str) -> None:
    info = ModelInfo(
        model="resnet8", input_shape=(3, 16, 12), classes=("a", "b"), dataset="stripes", mean=(0.0,) * 3, std=(1.0,) * 3
    )
    for stage, accuracy in (("dense", 0.91), ("control", 0.92), ("pruned", 0.9)):
        epochs = tuple(
            EpochRecord(epoch=n, loss=2 / n, held_out_accuracy=accuracy - 0.1 / n, lr=0.1) for n in (1, 2, 3)
        )
        pruned = stage == "pruned"
        report = TrainReport(
            info=info,
            history=History(config=TrainConfig(epochs=3), epochs=epochs),
            rates=rates(pruned_layer) if pruned else None,
            test_accuracy=accuracy,
            test_images=400,
            held_out_accuracy=accuracy,
            weights_kept=0.4 if pruned else 1.0,
            macs_kept=0.3 if pruned else 1.0,
        )
        write_json(folder / f"{stage}.json", report)


def rates(layer: str) -> PrunedRates:
    kept = LayerRate(name=layer, scheme=PUNCHED, density=DENSITY, macs=1000, energy=0.615)
    return PrunedRates(layers=(kept,), density=DENSITY, macs_kept=0.3, weights_kept=0.4)
