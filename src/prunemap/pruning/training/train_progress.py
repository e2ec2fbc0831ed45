"""What training shows on stderr: a bar with the time left, and a line per epoch where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from prunemap.pruning.training.distributed import is_first
from prunemap.pruning.training.train_config import EpochRecord, History


class TrainProgress:
    """The bar of one run."""

    def __init__(self, progress: Progress, task: TaskID, history: History) -> None:
        self._progress, self._task, self._epochs = progress, task, history.config.epochs
        self._last = f"epoch {len(history.epochs)}/{self._epochs}"

    def step(self, loss: float) -> None:
        self._progress.update(self._task, advance=1, status=f"{self._last}  loss {loss:.3f}")

    def epoch(self, record: EpochRecord) -> None:
        self._last = f"epoch {record.epoch}/{self._epochs}  held-out accuracy {record.held_out_accuracy:.2%}"
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"{self._last}  loss {record.loss:.3f}", highlight=False)


@contextmanager
def show_training(history: History, steps_per_epoch: int, checkpoint: Path | None) -> Iterator[TrainProgress]:
    """Show the bar; say what is kept when the user interrupts."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, quiet=not is_first()), transient=True) as progress:
        task = progress.add_task(
            "",
            total=history.config.epochs * steps_per_epoch,
            completed=len(history.epochs) * steps_per_epoch,
            status="",
        )
        try:
            yield TrainProgress(progress, task, history)
        except KeyboardInterrupt:
            kept = (
                f"{checkpoint} keeps the last whole epoch"
                if checkpoint and checkpoint.exists()
                else "no epoch was finished"
            )
            progress.console.print(f"training interrupted; {kept}", highlight=False, soft_wrap=True)
            raise
