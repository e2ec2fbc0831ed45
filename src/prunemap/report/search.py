"""Tables of a search: the best so far as it went on, the second looks, and what nothing beats in both."""

from __future__ import annotations

from rich.table import Table

from prunemap.mapping.search import Evaluation, SearchRecord
from prunemap.report.text import milliseconds, new_table, percent

SHOWN = 12
"""Rows of a table, at most; the last ones."""


def search_tables(record: SearchRecord) -> list[Table]:
    """Return how the best changed, what the finalists had the second time, and the front."""
    return [_best_so_far(record), *([_finalists(record)] if record.second_looks else []), _front(record)]


def looked_again(record: SearchRecord) -> str:
    """Return what second looks were."""
    count = record.other_images
    images = "the same" if count == 0 else "other" if count is None else f"{count:,} other"
    return f"evaluated again, on {images} images and batches in another order"


def _best_so_far(record: SearchRecord) -> Table:
    stopped = sum(not each.complete for each in record.evaluations)
    dense = "" if record.dense_accuracy is None else f"; dense {percent(record.dense_accuracy)}"
    caption = (
        f"{len(record.evaluations)} evaluations, {stopped} of them stopped early, by {record.config.searcher}\n"
        f"accuracy on held-out images after a short training{dense}\n"
        f"budget {milliseconds(record.budget_us / 1e3)} ms; latency {'measured' if record.measured else 'predicted'}"
    )
    if not record.meets_budget:
        caption += "\nno candidate within the budget was trained to the end: the plan chosen is over it"
    table = new_table("best so far", "evaluation", "accuracy", "latency, ms", "reward", "", caption=caption)
    table.columns[-1].justify = "left"
    improved = _improvements(record)
    for i in sorted({*improved[-SHOWN:], record.best}):
        table.add_row(*_cells(i, record.evaluations[i]), f"{record.rewards[i]:.4f}", note(record, i))
    return table


def _improvements(record: SearchRecord) -> list[int]:
    """Return the evaluations that were the best so far when they came."""
    best = record.best_rewards()
    return [i for i, reward in enumerate(best) if i == 0 or reward > best[i - 1]]


def _finalists(record: SearchRecord) -> Table:
    caption = f"{looked_again(record)};\nchosen by the mean of both: the best of many is partly the luckiest"
    table = new_table("finalists", "evaluation", "accuracy", "latency, ms", "again", "mean", "", caption=caption)
    table.columns[-1].justify = "left"
    for each in record.finalists():
        cells = _cells(each.place, record.evaluations[each.place])
        table.add_row(*cells, percent(each.again), percent(each.mean), note(record, each.place))
    return table


def _front(record: SearchRecord) -> Table:
    table = new_table("front of accuracy and latency", "evaluation", "accuracy", "latency, ms", "")
    table.columns[-1].justify = "left"
    for i in record.front[-SHOWN:]:
        table.add_row(*_cells(i, record.evaluations[i]), note(record, i))
    return table


def _cells(place: int, evaluation: Evaluation) -> tuple[str, str, str]:
    return str(place + 1), percent(evaluation.accuracy), milliseconds(evaluation.latency_us / 1e3)


def note(record: SearchRecord, place: int) -> str:
    """Return what is special about an evaluation."""
    notes = ["the plan by the rules"] if place == record.rules else []
    if place == record.best:
        notes.append("chosen" if record.meets_budget else "chosen, over the budget")
    return ", ".join(notes)
