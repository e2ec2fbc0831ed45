"""Curves of every training: accuracy and loss, and the density while it falls, by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunemap.report.html.chart import Chart, Line, Point, finite, round_ticks, x_scale, y_scale
from prunemap.report.html.run_folder import Trainings
from prunemap.report.html.styles import phase_style

if TYPE_CHECKING:  # importing pruning imports torch
    from prunemap.pruning import History

PARTS = {
    "dense": ("dense", "history"),
    "control-prune": ("control", "pruning_history"),
    "control": ("control", "history"),
    "prune": ("pruned", "pruning_history"),
    "retrain": ("pruned", "history"),
}
"""By training, as log.csv names it: the stage that reports it, and where."""


@dataclass(frozen=True)
class Epoch:
    """What is drawn of an epoch; accuracy, on held-out images, and density are shares."""

    epoch: int
    held_out_accuracy: float
    loss: float
    density: float | None = None


@dataclass(frozen=True)
class TrainingFigure:
    """The charts of one folder of trainings."""

    title: str
    charts: tuple[Chart, ...]
    phases: tuple[tuple[str, str], ...]
    """Style and name of every training."""


def training_figures(trainings: Sequence[Trainings]) -> list[TrainingFigure]:
    """Return the charts of every folder in which something was trained."""
    found = [(each, phases) for each in trainings if (phases := _phases(each))]
    return [_figure("" if each.seed is None else f"seed {each.seed}", phases) for each, phases in found]


def _phases(trainings: Trainings) -> dict[str, list[Epoch]]:
    """Return the epochs by training: of the log, else of the reports."""
    found: dict[str, list[Epoch]] = {}
    for row in trainings.log:
        found.setdefault(row.phase, []).append(Epoch(row.epoch, row.held_out_accuracy, row.loss, row.density))
    if found:
        return found
    for phase, (stage, part) in PARTS.items():
        history: History | None = getattr(trainings.reports.get(stage), part, None)
        if history is not None and history.epochs:
            found[phase] = [Epoch(each.epoch, each.held_out_accuracy, each.loss) for each in history.epochs]
    return found


def _figure(title: str, phases: dict[str, list[Epoch]]) -> TrainingFigure:
    measures: tuple[tuple[str, str, Callable[[Epoch], float | None]], ...] = (
        ("accuracy on held-out images", "%", lambda each: 100 * each.held_out_accuracy),
        ("training loss", "nats", lambda each: each.loss),
        ("MACs kept", "%", lambda each: None if each.density is None else 100 * each.density),
    )
    charts = [
        _chart(label, unit, {name: _points(rows, of) for name, rows in phases.items()}) for label, unit, of in measures
    ]
    return TrainingFigure(
        title=title,
        charts=tuple(chart for chart in charts if chart is not None),
        phases=tuple((phase_style(name), name) for name in phases),
    )


def _points(rows: Sequence[Epoch], of: Callable[[Epoch], float | None]) -> list[Point]:
    found = ((float(row.epoch), of(row)) for row in rows)
    return finite((epoch, value) for epoch, value in found if value is not None)


def _chart(label: str, unit: str, curves: dict[str, list[Point]]) -> Chart | None:
    """Return the chart of one measure; None where there is nothing to see."""
    epochs = [epoch for points in curves.values() for epoch, _ in points]
    values = [value for points in curves.values() for _, value in points]
    if not values or (label == "MACs kept" and min(values) == max(values)):
        return None
    margin = 0.05 * (max(values) - min(values)) or 1.0
    x, y = x_scale(min(epochs), max(epochs)), y_scale(min(values) - margin, max(values) + margin)
    lines = (
        Line(phase_style(name), tuple((x(at), y(value), f"{name}, epoch {at:g}: {value:.4g}") for at, value in points))
        for name, points in curves.items()
        if points
    )
    return Chart(
        label=f"{label} by epoch, a line per training",
        x_label="epoch",
        y_label=f"{label}, {unit}",
        x_ticks=round_ticks(x, whole=True),
        y_ticks=round_ticks(y),
        lines=tuple(lines),
    )
