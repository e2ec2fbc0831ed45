"""The headline of the HTML report, and the conditions that its figures were taken under."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prunemap.compiler import identify
from prunemap.core.latency_table import LayerTime, NetworkTimes, SlotTime
from prunemap.pruning.recipes.summary import summarise
from prunemap.report.html import Run, read_run
from prunemap.report.html.conditions import sections
from prunemap.report.html.headline import tiles
from prunemap.report.html.layer_rows import layer_rows
from tests.unit.report.run_folders import DENSE_US, DENSITY, demo_folder, recipe_folder
from tests.unit.report.test_tables import verified


def test_without_a_bench_latency_is_that_predicted_with_what_lies_between_the_layers(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None and run.plan is not None
    rows = layer_rows(run)
    layers_ms = sum(row.pruned_us or 0 for row in rows) / 1e3
    (tile,) = (each for each in tiles(replace(run, benched=None), rows) if each.label == "latency, predicted")
    assert tile.value == f"{layers_ms:.3f} ms" and tile.notes[1] == "without what lies between the layers"
    inside = tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=DENSE_US) for spec in run.specs)
    network = NetworkTimes(name="residual", layers=inside, glue=(SlotTime(name="pool", median_us=25.0),), runs=5)
    run = replace(run, latency=run.latency.model_copy(update={"networks": (network,)}))
    (tile,) = (each for each in tiles(replace(run, benched=None), rows) if each.label == "latency, predicted")
    assert tile.value == f"{layers_ms + 0.025:.3f} ms" and len(tile.notes) == 1
    (tile,) = (each for each in tiles(run, rows) if each.label == "latency, measured")
    beside = f"predicted with 1 thread: {layers_ms + 0.025:.3f} ms, "
    assert tile.notes[-1].startswith(beside), "the bench had two threads"


def test_of_networks_of_the_same_layers_the_prediction_is_of_this_one(tmp_path: Path) -> None:
    folder = demo_folder(tmp_path / "run")
    run = read_run(folder)
    assert run.latency is not None
    inside = tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=DENSE_US) for spec in run.specs)
    networks = tuple(
        NetworkTimes(name=name, layers=inside, glue=(SlotTime(name="pool", median_us=us),), runs=5, graph_sha256=graph)
        for name, us, graph in (("this", 25.0, identify(folder / "dense.onnx").sha256), ("other", 75.0, "0" * 64))
    )
    run = replace(run, benched=None, latency=run.latency.model_copy(update={"networks": networks}))
    rows = layer_rows(run)
    (tile,) = (each for each in tiles(run, rows) if each.label == "latency, predicted")
    assert tile.value == f"{(sum(row.pruned_us or 0 for row in rows) + 25) / 1e3:.3f} ms"


def test_a_prediction_says_how_many_layers_it_lacks(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    rows = layer_rows(run)
    points = tuple(point for point in run.latency.points if point.setting != rows[0].setting)
    run = replace(run, benched=None, latency=run.latency.model_copy(update={"points": points}))
    (tile,) = (each for each in tiles(run, rows) if each.label == "latency, predicted")
    assert tile.value == f"{sum(row.pruned_us or 0 for row in rows[1:]) / 1e3:.3f} ms"
    assert tile.notes[1] == f"without 1 of {len(rows)} layers and what lies between the layers"
    empty = run.latency.model_copy(update={"points": ()}) if run.latency else None
    assert not [each for each in tiles(replace(run, latency=empty), rows) if "latency" in each.label]


def test_what_is_kept_says_of_what(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    rows = layer_rows(run)
    kept = [each.label for each in tiles(run, rows) if "kept" in each.label]
    assert kept == ["weights kept of all layers", "MACs kept of all layers"]
    planned = next(each for each in tiles(replace(run, trainings=()), rows) if "kept" in each.label)
    macs = sum(spec.macs * (DENSITY if spec.name == "block.a" else 1) for spec in run.specs)
    assert planned.label == "MACs kept of all layers, as planned"
    assert planned.value == f"{100 * macs / sum(spec.macs for spec in run.specs):.1f} %"


def test_the_accuracy_of_a_recipe_has_its_unit_with_one_seed_and_with_several(tmp_path: Path) -> None:
    run = read_run(recipe_folder(tmp_path / "run"))
    assert run.summary is not None
    one = summarise("net", "stripes", 400, run.summary.seeds[:1], run.summary.rates)
    shown = [tiles(replace(run, summary=summary), [])[0] for summary in (run.summary, one)]
    assert [(tile.value, tile.notes[0]) for tile in shown] == [
        ("88.5 ± 0.7 %", "dense: 90.0 ± 0.0 %"),
        ("88.0 %", "dense: 90.0 %"),
    ]


@pytest.mark.parametrize(("batches", "said"), [(1, "on 1 batch"), (2, "on 2 batches")])
def test_the_error_says_how_much_was_compared(batches: int, said: str) -> None:
    run = Run(folder=Path(), verified=verified().model_copy(update={"batches": batches}))
    assert tiles(run, [])[0].notes[0].endswith(said)


def test_the_conditions_say_what_a_reader_of_the_latency_table_must_know(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    first, *others = run.latency.points
    points = (first.model_copy(update={"unstable": True}), *others)
    notes = ("the machine's speed moved", "another compiler: '/opt/bin/gcc'")
    table = run.latency.model_copy(update={"points": points, "notes": notes})
    (facts,) = (facts for title, facts in sections(replace(run, latency=table)) if title == "latency table")
    assert ("measured", f"{len(points)} points, 1 of them unstable; 1 thread") in facts
    assert [value for name, value in facts if name == "note"] == [notes[0], "another compiler: 'gcc'"]
