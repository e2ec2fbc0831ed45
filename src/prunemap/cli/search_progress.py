"""What a search shows on stderr: a bar with the time left, and a line per evaluation where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from prunemap.mapping.search import Evaluation, OnEvaluation, SearchConfig


@contextmanager
def show_search(config: SearchConfig, budget_us: float) -> Iterator[OnEvaluation]:
    """Show the bar; yield what is told of every evaluation.

    Args:
        config: says how many there will be, at most.
        budget_us: the best so far is the best within it.
    """
    columns = (
        TextColumn("searching"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        most = config.evaluations + (config.finalists + config.seeded if config.finalists else 0)
        task = progress.add_task("", total=most, status="")
        best: list[Evaluation] = []

        def say(number: int, evaluation: Evaluation, reward: float) -> None:
            within = evaluation.complete and evaluation.latency_us <= budget_us * (1 + 1e-9)
            if within and not evaluation.second_look and (not best or evaluation.accuracy > best[-1].accuracy):
                best.append(evaluation)
            status = f"best {_words(best[-1])}" if best else "none within the budget yet"
            progress.update(task, completed=number, status=status)
            if not progress.console.is_terminal:
                note = "" if evaluation.complete else f", stopped after {evaluation.rungs[-1].steps} steps"
                note += ", second look" if evaluation.second_look else ""
                line = f"{number}/{most}  {_words(evaluation)}, reward {reward:.4f}{note}; {status}"
                progress.console.print(line, highlight=False, soft_wrap=True)

        yield say


def _words(evaluation: Evaluation) -> str:
    return f"{evaluation.accuracy:.2%} at {evaluation.latency_us / 1e3:.3g} ms"
