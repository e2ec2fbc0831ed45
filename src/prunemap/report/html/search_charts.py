"""Searches: the reward over the evaluations, the front, what was chosen and what the policy has learnt per layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prunemap.mapping.search import SearchedDecision, SearchRecord
from prunemap.report.html.chart import Chart, Line, Mark, Point, Scale, finite, round_ticks, x_scale, y_scale
from prunemap.report.html.conditions import Grid
from prunemap.report.search import looked_again, note
from prunemap.report.text import milliseconds, percent

COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6")
LIKELIEST = 3
"""Actions of a layer that are shown with their probability."""


@dataclass(frozen=True)
class SearchFigures:
    """What the section shows."""

    note: str
    searches: tuple[tuple[str, str], ...]
    """Style and name of each."""
    charts: tuple[Chart, ...]
    finalists: Grid | None
    chosen: Grid
    learnt: Grid | None


def search_figures(records: Mapping[str, SearchRecord]) -> SearchFigures | None:
    """Return the figures of some searches, by their names; None if there are none."""
    if not records:
        return None
    styles = {name: f"{COLOURS[i % len(COLOURS)]} d{i // len(COLOURS) % 5}" for i, name in enumerate(records)}
    return SearchFigures(
        note=" ".join(_said(name, record) for name, record in records.items()),
        searches=tuple((style, name) for name, style in styles.items()),
        charts=(_rewards(records, styles), _fronts(records, styles)),
        finalists=_finalists(records),
        chosen=_chosen(records),
        learnt=_learnt(records),
    )


def _said(name: str, record: SearchRecord) -> str:
    best, stopped = record.evaluations[record.best], sum(not each.complete for each in record.evaluations)
    twice = [each for each in record.finalists() if each.place == record.best]
    again = "".join(f", {percent(each.again)} when {looked_again(record)}," for each in twice)
    rules = " It is the plan by the rules." if record.best == record.rules else ""
    dense = "" if record.dense_accuracy is None else f" (dense {percent(record.dense_accuracy)})"
    how = "measured" if record.measured else "predicted"
    budget = f"{milliseconds(record.budget_us / 1e3)} ms"
    which = f"the best within {budget}" if record.meets_budget else f"none met the budget of {budget}, the best reward"
    return (
        f"{name}: {len(record.evaluations)} evaluations, {stopped} of them stopped early; {which} has "
        f"{percent(best.accuracy)}{dense} on held-out images after a "
        f"short training{again} at {milliseconds(best.latency_us / 1e3)} ms {how}.{rules}"
    )


def _rewards(records: Mapping[str, SearchRecord], styles: Mapping[str, str]) -> Chart:
    curves = {
        name: finite((float(i), reward) for i, reward in enumerate(record.best_rewards(), start=1))
        for name, record in records.items()
    }
    return _chart("best reward so far", "evaluation", curves, styles, whole=True)


def _fronts(records: Mapping[str, SearchRecord], styles: Mapping[str, str]) -> Chart:
    """Return accuracy against latency: what nothing beats, with a ring around what was chosen."""

    def place(record: SearchRecord, i: int) -> Point:
        return record.evaluations[i].latency_us / 1e3, 100 * record.evaluations[i].accuracy

    curves = {name: [place(record, i) for i in record.front] for name, record in records.items()}
    rings = {name: place(record, record.best) for name, record in records.items()}
    return _chart("accuracy that nothing faster beats, %", "latency, ms", curves, styles, rings=rings)


def _chart(
    label: str,
    x_label: str,
    curves: Mapping[str, Sequence[Point]],
    styles: Mapping[str, str],
    *,
    whole: bool = False,
    rings: Mapping[str, Point] | None = None,
) -> Chart:
    points = [point for each in (*curves.values(), list((rings or {}).values())) for point in each]
    x, y = _scale(x_scale, [at for at, _ in points]), _scale(y_scale, [value for _, value in points])

    def drawn(name: str, point: Point) -> tuple[float, float, str]:
        return x(point[0]), y(point[1]), f"{name}, {x_label} {point[0]:.4g}: {point[1]:.4g}"

    return Chart(
        label=f"{label} by {x_label}, a line per search",
        x_label=x_label,
        y_label=label,
        x_ticks=round_ticks(x, whole),
        y_ticks=round_ticks(y),
        lines=tuple(Line(styles[n], tuple(drawn(n, point) for point in each)) for n, each in curves.items() if each),
        marks=tuple(Mark(styles[name], *drawn(name, point)) for name, point in (rings or {}).items()),
    )


def _scale(make: Callable[[float, float], Scale], values: Sequence[float]) -> Scale:
    """Return the scale of an axis with a margin around the values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return make(low - margin, high + margin)


def _finalists(records: Mapping[str, SearchRecord]) -> Grid | None:
    """Return what was evaluated twice, the best mean of each search first."""
    rows = []
    for search, record in records.items():
        for each in record.finalists():
            latency = milliseconds(record.evaluations[each.place].latency_us / 1e3)
            accuracies = [percent(accuracy) for accuracy in (each.first, each.again, each.mean)]
            rows.append((str(each.place + 1), *accuracies, latency, note(record, each.place), search))
    headers = ("evaluation", "accuracy", "again", "mean", "latency, ms", "", "search")
    return Grid(headers, tuple(rows), ("name", *["number"] * 4, "name", "name")) if rows else None


def _chosen(records: Mapping[str, SearchRecord]) -> Grid:
    """Return what the best plan of every search has, decision by decision."""
    names = dict.fromkeys(each.name for record in records.values() for each in record.decisions)
    found = {name: {each.name: each for each in record.decisions} for name, record in records.items()}
    rows = tuple((name, *(_action(found[search].get(name)) for search in records)) for name in names)
    return Grid(("layer", *records), rows, ("name",) * (1 + len(records)))


def _action(decision: SearchedDecision | None) -> str:
    return "" if decision is None or decision.chosen is None else decision.actions[decision.chosen]


def _learnt(records: Mapping[str, SearchRecord]) -> Grid | None:
    """Return the likeliest actions of every policy, decision by decision."""
    rows = []
    for search, record in records.items():
        for each in record.decisions:
            if each.probabilities is not None:
                likeliest = sorted(zip(each.probabilities, each.actions, strict=True), reverse=True)[:LIKELIEST]
                said = [f"{action} {percent(probability)}" for probability, action in likeliest]
                rows.append((each.name, *said, *[""] * (LIKELIEST - len(said)), search))
    headers = ("layer", "likeliest", "next", "then", "search")
    return Grid(headers, tuple(rows), ("name",) * len(headers)) if rows else None
