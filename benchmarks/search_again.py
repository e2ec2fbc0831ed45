"""``again`` of search.py: how far two evaluations of one plan differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from search_setup import Facts, Setup, evenly_spread

from prunemap.core.value import Value, read_json, write_json
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
    noise: float | None = None
    """Standard deviation of one evaluation, but for what the other images change alike for every plan."""
    rows: tuple[Twice, ...] = ()


def again(setup: Setup) -> None:
    rows, output = setup.table(), setup.options.output
    setup.check_fast_evaluation()
    better = sorted(rows, key=lambda row: row.accuracy)[len(rows) // 2 :]
    result = SecondLooks.model_validate(
        {**setup.facts(), "table": setup.options.table.name, "fast": setup.evaluator.config}
    )
    if output.exists():
        result = read_second_looks(output, setup.options.table, "-o")
    known = {row.key for row in result.rows}
    wanted = [row for row in evenly_spread(better, setup.options.plans) if row.key not in known]
    for row in track(wanted, "second looks", console=Console(stderr=True)):
        looked = setup.evaluator(setup.space.plan(row.candidate), second_look=True)
        found = (*result.rows, Twice(key=row.key, first=row.accuracy, again=looked.rungs[-1].accuracy))
        result = result.model_copy(update={"rows": found, "noise": noise_of(found)})
        write_json(output, result)
    print(f"noise of an evaluation: {result.noise}, by {len(result.rows)} plans evaluated twice")


def read_second_looks(path: Path | None, table: Path, option: str) -> SecondLooks:
    """Read what :func:`again` wrote.

    Args:
        table: that it must be of.
        option: that names the file, for messages.

    Raises:
        SystemExit: there is none, or it is of another table.
    """
    if path is None:
        raise SystemExit(f"{option}: got none; `again` writes it")
    result = read_json(path, SecondLooks, option)
    if result.table != table.name:
        raise SystemExit(f"{option}: {path} is of {result.table}, not of {table.name}")
    return result


def noise_of(rows: Sequence[Twice]) -> float | None:
    """Return the standard deviation of one evaluation; None of less than two plans."""
    if len(rows) < 2:
        return None
    return float(np.std([row.again - row.first for row in rows], ddof=1) / np.sqrt(2))
