"""Tables of a search: the best so far as it went on, the second looks, and what nothing beats in both."""

from __future__ import annotations

from rich.table import Table

from prunemap.mapping.search import Evaluation, SearchRecord
from prunemap.report.text import milliseconds, new_table, percent

SHOWN = 12
"""Rows of a table, at most; the last ones."""


def search_tables(record: SearchRecord) -> list[Table]:
    """Return how the best changed, what the finalists had the second time, and the front."""
    return [_best_so_far(record), *([_finalists(record)] if record.again else []), _front(record)]


def _best_so_far(record: SearchRecord) -> Table:
    stopped = sum(not each.complete for each in record.evaluations)
    dense = "" if record.dense_accuracy is None else f"; dense {percent(record.dense_accuracy)}"
    caption = (
        f"{len(record.evaluations)} evaluations, {stopped} of them stopped early, by {record.config.searcher}\n"
        f"accuracy on held-out images after a short training{dense}; budget {milliseconds(record.budget_us / 1e3)} ms\n"
        f"latency {'measured' if record.measured else 'predicted'}"
    )
    if not record.meets_budget:
        caption += "\nno candidate within the budget was trained to the end: the plan chosen is over it"
    table = new_table("best so far", "evaluation", "accuracy", "latency, ms", "reward", "", caption=caption)
    table.columns[-1].justify = "left"
    improved = [i for i, reward in enumerate(record.rewards) if i in _improvements(record)]
    for i in improved[-SHOWN:]:
        table.add_row(*_cells(i, record.evaluations[i]), f"{record.rewards[i]:.4f}", _note(record, i))
    return table


def _improvements(record: SearchRecord) -> set[int]:
    """Return the evaluations that were the best so far when they came."""
    best = record.best_rewards()
    return {i for i, reward in enumerate(best) if i == 0 or reward > best[i - 1]} | {record.best}


def _finalists(record: SearchRecord) -> Table:
    caption = "the best of many is partly the luckiest: evaluated again on other images,\nchosen by the mean of both"
    table = new_table("finalists", "evaluation", "accuracy", "latency, ms", "again", "mean", "", caption=caption)
    table.columns[-1].justify = "left"
    means = {i: (record.evaluations[i].accuracy + again) / 2 for i, again in record.again.items()}
    for i in sorted(means, key=lambda i: -means[i]):
        cells = _cells(i, record.evaluations[i])
        table.add_row(*cells, percent(record.again[i]), percent(means[i]), _note(record, i))
    return table


def _front(record: SearchRecord) -> Table:
    table = new_table("front of accuracy and latency", "evaluation", "accuracy", "latency, ms", "")
    table.columns[-1].justify = "left"
    for i in record.front[-SHOWN:]:
        table.add_row(*_cells(i, record.evaluations[i]), _note(record, i))
    return table


def _cells(place: int, evaluation: Evaluation) -> tuple[str, str, str]:
    return str(place + 1), percent(evaluation.accuracy), milliseconds(evaluation.latency_us / 1e3)


def _note(record: SearchRecord, place: int) -> str:
    notes = ["the plan by the rules"] if place == 0 and record.config.seeded else []
    if place == record.best:
        notes.append("chosen" if record.meets_budget else "chosen, over the budget")
    return ", ".join(notes)
