"""The headline: what the network is, and in a few figures what pruning it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from prunemap.benchmarking import BenchResult
from prunemap.report.html.layer_rows import LayerRow, NetworkTime, network_time
from prunemap.report.html.paths import shown_path
from prunemap.report.html.run_folder import Run
from prunemap.report.pruning import mean_std
from prunemap.report.text import milliseconds, percent, size, times
from prunemap.report.timings import batch_count, thread_count

if TYPE_CHECKING:  # importing pruning imports torch
    from prunemap.pruning.recipes.summary import RecipeSummary

OURS = "prunemap"
ENGINE_NAMES = {"dense": "dense, compiled by prunemap", "onnxruntime": "dense in ONNX Runtime"}


@dataclass(frozen=True)
class Tile:
    """A figure with what it is and what stands beside it."""

    label: str
    value: str
    notes: tuple[str, ...] = ()


def title_of(run: Run) -> str:
    """Return what the network is called, and the data where they are known."""
    if run.summary is not None:
        return f"{shown_path(run.summary.model, run.folder)} on {run.summary.dataset}"
    info = next((report.info for report in run.reports.values()), None)
    if info is not None:
        return f"{shown_path(info.model, run.folder)} on {info.dataset}"
    if run.recipe is not None:
        return f"{shown_path(run.recipe.model.name, run.folder)} on {run.recipe.data.name}"
    if run.benched is not None:
        return Path(run.benched.model).stem
    return (run.plan.model.name if run.plan else "") or run.folder.resolve().name


def tiles(run: Run, rows: Sequence[LayerRow]) -> list[Tile]:
    """Return the figures that the run has."""
    found = [*_latency(run), *_accuracy(run), *_kept(run, rows), *_file(run)]
    if run.verified is not None:
        against = f"against {run.verified.reference}, on {batch_count(run.verified.batches)}"
        verdict = "inside" if run.verified.passed else "NOT inside"
        note = f"{verdict} the tolerance {run.verified.tolerance:g}"
        found.append(Tile("largest relative error", f"{run.verified.max_relative_error:.2g}", (against, note)))
    return found


def _latency(run: Run) -> list[Tile]:
    predicted = network_time(run)
    if run.benched is not None:
        medians = {each.engine: each.median_ms for each in run.benched.results}
        if OURS in medians:
            notes = tuple(
                _beside(name, ratio, medians.get(name)) for name, ratio in run.benched.ratios.items() if ratio > 0
            )
            notes += _caveat(run.benched)
            notes += () if predicted is None else (_beside_measured(predicted, run.benched),)
            return [Tile("latency, measured", f"{milliseconds(medians[OURS])} ms", notes)]
    if predicted is None:
        return []
    notes = (_gain(predicted), *([f"without {predicted.without}"] if predicted.without else []))
    return [Tile("latency, predicted", f"{milliseconds(predicted.pruned_us / 1e3)} ms", notes)]


def _gain(predicted: NetworkTime) -> str:
    ratio = times(predicted.dense_us / predicted.pruned_us)
    return f"{ratio} faster than dense ({milliseconds(predicted.dense_us / 1e3)} ms)"


def _beside_measured(predicted: NetworkTime, benched: BenchResult) -> str:
    threads = "" if predicted.threads == benched.threads else f" with {thread_count(predicted.threads)}"
    without = f" without {predicted.without}" if predicted.without else ""
    return f"predicted{threads}{without}: {milliseconds(predicted.pruned_us / 1e3)} ms, {_gain(predicted)}"


def _beside(engine: str, ratio: float, median_ms: float | None) -> str:
    gain = f"{times(ratio)} faster" if ratio >= 1 else f"{times(1 / ratio)} slower"
    took = "" if median_ms is None else f" ({milliseconds(median_ms)} ms)"
    return f"{gain} than {ENGINE_NAMES.get(engine, engine)}{took}"


def _caveat(benched: BenchResult) -> tuple[str, ...]:
    return ("fake sparsity: not trained, its speed counts alone",) if benched.faked else ()


def _accuracy(run: Run) -> list[Tile]:
    if run.summary is not None:
        return [_summary_accuracy(run.summary)]
    reports = run.reports
    pruned, dense, control = reports.get("pruned"), reports.get("dense"), reports.get("control")
    shown = pruned or dense
    if shown is None:
        return []
    others = (("dense", dense), ("dense control", control))
    notes = [f"{name}: {percent(each.test_accuracy)}" for name, each in others if each and each is not shown]
    before = control or dense
    if pruned and before:
        notes.append(f"pruning gives {100 * (pruned.test_accuracy - before.test_accuracy):+.1f} points")
    notes.append(_images(shown.test_images, shown.test_accuracy))
    return [Tile("accuracy" if pruned else "accuracy, dense", percent(shown.test_accuracy), tuple(notes))]


def _images(images: int, accuracy: float) -> str:
    """Return on how many images an accuracy was measured, with its standard error."""
    error = 100 * sqrt(max(0.0, accuracy * (1 - accuracy)) / max(images, 1))
    return f"{images} test images: ± {error:.1f} points"


def _summary_accuracy(summary: RecipeSummary) -> Tile:
    notes = [f"dense: {mean_std(summary.dense)} %"]
    notes += [] if summary.control is None else [f"dense control: {mean_std(summary.control)} %"]
    notes.append(f"pruning gives {-100 * summary.loss.mean:+.1f} points")
    seeds = f"{len(summary.seeds)} seeds: mean ± standard deviation" if len(summary.seeds) > 1 else "1 seed"
    images = _images(summary.test_images, summary.pruned.mean)
    return Tile("accuracy", f"{mean_std(summary.pruned)} %", (*notes, seeds, images))


def _kept(run: Run, rows: Sequence[LayerRow]) -> list[Tile]:
    """Return the weights and MACs kept: of the pruned network, else of the plan. ``map`` says those to prune alone."""
    pruned = run.reports.get("pruned")
    if run.summary is not None:
        shares = (run.summary.weights_kept.mean, run.summary.macs_kept.mean)
    elif pruned is not None:
        shares = (pruned.weights_kept, pruned.macs_kept)
    elif rows and all(row.macs for row in rows):
        return [_kept_tile("MACs kept of all layers, as planned", _mean_density(rows))]
    else:
        return []
    return [_kept_tile("weights kept of all layers", shares[0]), _kept_tile("MACs kept of all layers", shares[1])]


def _mean_density(rows: Sequence[LayerRow]) -> float:
    macs = [row.macs or 0 for row in rows]
    return sum(row.density * each for row, each in zip(rows, macs, strict=True)) / sum(macs)


def _kept_tile(label: str, share: float) -> Tile:
    return Tile(label, percent(share), (f"{times(1 / share)} fewer",) if 0 < share < 1 else ())


def _file(run: Run) -> list[Tile]:
    pruned, dense = (run.sizes_bytes.get(f"{stage}.pmap") for stage in ("pruned", "dense"))
    if not pruned:
        return []
    notes = (f"{times(dense / pruned)} smaller than dense ({size(dense)})",) if dense else ()
    return [Tile("compiled file", size(pruned), notes)]
