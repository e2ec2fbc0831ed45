"""EpochLog: a row of log.csv and a point of every TensorBoard curve per epoch, of all the trainings in a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from pydantic import ValidationError

from prunemap.core.files import write_text
from prunemap.core.value import Value
from prunemap.errors import UserError
from prunemap.pruning.training.tensorboard import append_scalars, begin_events
from prunemap.pruning.training.train_config import EpochRecord, History

CSV_NAME, EVENTS_NAME = "log.csv", "events.out.tfevents.prunemap"


class LogRow(Value):
    """An epoch; accuracy and density are shares, 0 to 1."""

    phase: str
    epoch: int
    loss: float
    held_out_accuracy: float
    lr: float
    seconds: float | None = None
    """None where the program was ended before it could say."""
    density: float | None = None
    """Kept / all MACs."""
    finished: datetime | None = None


@dataclass(frozen=True)
class EpochLog:
    """The log in a folder. A training that is begun anew or resumed replaces its own rows from there on."""

    folder: Path

    def phase(self, name: str, density: Callable[[], float]) -> PhaseLog:
        """Return the log of one training.

        Args:
            density: returns the density of now, asked for after every epoch.
        """
        return PhaseLog(self, name, density)

    def rows(self) -> list[LogRow]:
        """Return the rows so far.

        Raises:
            UserError: the file is not such a log.
        """
        path = self.folder / CSV_NAME
        if not path.exists():
            return []
        try:
            with path.open(encoding="utf-8", newline="") as file:
                return [
                    LogRow.model_validate({key: value for key, value in row.items() if value})
                    for row in csv.DictReader(file)
                ]
        except (ValidationError, csv.Error, UnicodeDecodeError):
            raise UserError(f"log: {path} is not a log of prunemap; move it away to go on") from None

    def write(self, rows: list[LogRow]) -> None:
        """Write both files anew."""
        write_text(self.folder / CSV_NAME, _line(LogRow.model_fields) + "".join(map(_row, rows)))
        begin_events(self.folder / EVENTS_NAME)
        for row in rows:
            self._append_events(row)

    def append(self, row: LogRow) -> None:
        """Add a row to both files."""
        with (self.folder / CSV_NAME).open("a", encoding="utf-8", newline="") as file:
            file.write(_row(row))
        self._append_events(row)

    def _append_events(self, row: LogRow) -> None:
        values = row.model_dump(include={"loss", "held_out_accuracy", "lr", "seconds", "density"}, exclude_none=True)
        scalars = {f"{row.phase}/{name}": value for name, value in values.items()}
        at = 0.0 if row.finished is None else row.finished.timestamp()
        append_scalars(self.folder / EVENTS_NAME, scalars, step=row.epoch, wall_time=at)


class PhaseLog:
    """The log of one training."""

    def __init__(self, log: EpochLog, phase: str, density: Callable[[], float]) -> None:
        self._log, self._phase, self._density = log, phase, density
        self._began = perf_counter()

    def begin(self, history: History) -> None:
        """Take what was trained already; rows of later epochs, which were not kept, are dropped."""
        rows = self._log.rows()
        known = {row.epoch: row for row in rows if row.phase == self._phase}
        own = [known.get(record.epoch) or self._row(record) for record in history.epochs]
        self._log.write([*(row for row in rows if row.phase != self._phase), *own])
        self._began = perf_counter()

    def add(self, record: EpochRecord) -> None:
        """Take an epoch that has just ended."""
        now = perf_counter()
        row = self._row(record).model_copy(
            update={
                "seconds": round(now - self._began, 3),
                "density": round(self._density(), 6),
                "finished": datetime.now(UTC).replace(microsecond=0),
            }
        )
        self._began = now
        self._log.append(row)

    def _row(self, record: EpochRecord) -> LogRow:
        return LogRow(phase=self._phase, **record.model_dump())


def _row(row: LogRow) -> str:
    return _line("" if value is None else value for value in row.model_dump(mode="json").values())


def _line(values: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)  # type: ignore[arg-type]
    return text.getvalue()
