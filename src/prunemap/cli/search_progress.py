"""What a search shows on stderr: a bar with the time left, and a line per evaluation where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import mean
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from prunemap.mapping.search import Evaluation, OnEvaluation, SearchConfig

LATEST = 20
"""Evaluations that the time left is estimated by."""


@contextmanager
def show_search(
    config: SearchConfig, budget_us: float, workers: int = 1, console: Console | None = None
) -> Iterator[OnEvaluation]:
    """Show the bar; yield what is told of every evaluation.

    Args:
        config: says how many there will be, at most.
        budget_us: the best so far is the best within it.
        workers: that evaluate at once.
        console: stderr by default.
    """
    columns = (
        TextColumn("searching"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    most = config.evaluations + min(config.finalists + config.seeded, config.evaluations) * (config.finalists > 0)
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=most, status="", left="")
        best: list[Evaluation] = []
        seconds: list[float] = []

        def say(number: int, evaluation: Evaluation, reward: float) -> None:
            seconds.append(evaluation.seconds)
            left = _left(seconds[-LATEST:], most - number, workers)
            within = evaluation.complete and evaluation.latency_us <= budget_us * (1 + 1e-9)
            if within and not evaluation.second_look and (not best or evaluation.accuracy > best[-1].accuracy):
                best.append(evaluation)
            status = f"best {_words(best[-1])}" if best else "none within the budget yet"
            progress.update(task, completed=number, total=max(most, number), status=status, left=left)
            if not progress.console.is_terminal:
                line = f"{number}/{max(most, number)}  {_words(evaluation)}, reward {reward:.4f}{_note(evaluation)}"
                progress.console.print(f"{line}; {status}; {left}", highlight=False, soft_wrap=True)

        yield say


def _left(seconds: list[float], evaluations: int, workers: int) -> str:
    """Return the time that so many more take; those of a journal took as long as others."""
    return f"{timedelta(seconds=round(mean(seconds) * max(0, evaluations) / workers))} left"


def _note(evaluation: Evaluation) -> str:
    if evaluation.second_look:
        return ", second look"
    after = f"after {evaluation.rungs[-1].steps} steps"
    if evaluation.diverged:
        return f", diverged {after}"
    return "" if evaluation.complete else f", stopped {after}"


def _words(evaluation: Evaluation) -> str:
    return f"{evaluation.accuracy:.2%} at {evaluation.latency_us / 1e3:.3g} ms"
