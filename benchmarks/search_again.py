"""``again`` of search.py: how far two evaluations of one plan differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import track
from search_setup import Facts, Setup, evenly_spread

from prunemap.core.value import Value, write_json
from prunemap.pruning.fast_evaluate import FastConfig


class Twice(Value):
    """Held-out accuracies of one plan after a fast evaluation, 0 to 1."""

    key: str
    """Of the plan's choices."""
    first: float
    """As the table has it."""
    again: float
    """On other batches and other images."""


class SecondLooks(Facts):
    """Result of ``again``."""

    table: str
    fast: FastConfig
    noise: float
    """Standard deviation of one evaluation, but for what the other images change alike for every plan."""
    rows: tuple[Twice, ...]


def again(setup: Setup) -> None:
    rows = setup.table()
    setup.check_fast_evaluation()
    better = sorted(rows, key=lambda row: row.accuracy)[len(rows) // 2 :]
    found = []
    for row in track(evenly_spread(better, setup.options.plans), "second looks"):
        looked = setup.evaluator(setup.space.plan(row.candidate), second_look=True)
        found.append(Twice(key=row.key, first=row.accuracy, again=looked.rungs[-1].accuracy))
    result = SecondLooks.model_validate(
        {
            **setup.facts(),
            "table": setup.options.table.name,
            "fast": setup.evaluator.config,
            "noise": noise_of(found),
            "rows": tuple(found),
        }
    )
    write_json(setup.options.output, result)
    print(f"noise of an evaluation: {result.noise:.4f}, by {len(found)} plans evaluated twice")


def noise_of(rows: Sequence[Twice]) -> float:
    """Return the standard deviation of one evaluation."""
    return float(np.std([row.again - row.first for row in rows], ddof=1) / np.sqrt(2))
