"""Journal: every evaluation of a search as a line of JSON, on disk before the search goes on.

The first line says what the evaluations are of; a journal of anything else is refused. A last line that was cut off,
as ``kill -9`` or a full disk leaves it, counts as never written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from prunemap.core.files import existing_file
from prunemap.core.value import Value
from prunemap.errors import Problems, UserError
from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Evaluation

MAY_CHANGE = ("evaluations", "finalists")
"""Of the config, when a journal is resumed: no evaluation depends on it."""


class JournalHeader(Value):
    """What the evaluations are of."""

    version: Literal[1] = 1
    about: Mapping[str, str]
    """By name: model, weights, data, latency table, budget, fast evaluation."""
    config: SearchConfig


class Journal:
    """The journal at a path; who searches holds its lock."""

    def __init__(self, path: Path, header: JournalHeader, evaluations: list[Evaluation]) -> None:
        self.path, self.header = path, header
        self.evaluations = [each for each in evaluations if not each.second_look]
        self.second_looks = [each for each in evaluations if each.second_look]

    @classmethod
    def begin(cls, path: str | Path, header: JournalHeader, *, resume: bool) -> Journal:
        """Return a new journal, or the one at ``path`` with what it holds.

        Raises:
            UserError: it exists and is not to be resumed, it is of another search, damaged, or cannot be written.
        """
        path = Path(path)
        if path.exists():
            if not resume:
                raise UserError(
                    f"journal: {path} exists already; go on with it by --resume, name another plan (-o), or delete it"
                )
            return cls(path, header, _read(path, header))
        journal = cls(path, header, [])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"journal: cannot write {path}: {error.strerror or error}") from None
        journal._write(header)
        return journal

    def append(self, evaluation: Evaluation) -> None:
        """Write an evaluation.

        Raises:
            UserError: it cannot be written; the file is as it was before.
        """
        self._write(evaluation)
        (self.second_looks if evaluation.second_look else self.evaluations).append(evaluation)

    def _write(self, value: Value) -> None:
        line = value.model_dump_json().encode() + b"\n"
        before = self.path.stat().st_size if self.path.exists() else None
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            _cut(self.path, before)
            raise UserError(
                f"journal: cannot write {self.path}: {error.strerror or error}; what it holds is kept, and --resume "
                "goes on once it can be written"
            ) from None


def _cut(path: Path, size: int | None) -> None:
    """Give a file its size back; remove it if it had none."""
    if size is None:
        path.unlink(missing_ok=True)
    elif path.exists():
        os.truncate(path, size)


def _read(path: Path, header: JournalHeader) -> list[Evaluation]:
    """Return the evaluations; what was cut off at the end is removed from the file."""
    whole, _, rest = existing_file(path, "journal").read_bytes().rpartition(b"\n")
    lines = whole.split(b"\n")
    try:
        found = JournalHeader.model_validate_json(lines[0])
    except ValidationError:
        foreign = f"journal: {path} is not the journal of a search; name another plan (-o), or delete it"
        raise UserError(foreign) from None
    _check_same(path, found, header)
    evaluations, problems = [], Problems(f"journal: {path} is damaged")
    for number, line in enumerate(lines[1:], start=2):
        try:
            evaluations.append(Evaluation.model_validate_json(line))
        except ValidationError as error:
            problems.add(f"line {number}: {error.errors(include_url=False)[0]['msg']}")
    problems.raise_if_any()
    if rest:
        os.truncate(path, len(whole) + 1)
    return evaluations


def _check_same(path: Path, found: JournalHeader, asked: JournalHeader) -> None:
    problems = Problems(f"journal: {path} is of another search; name another plan (-o), or delete it")
    for name in dict.fromkeys([*found.about, *asked.about]):
        was, here = found.about.get(name, "nothing"), asked.about.get(name, "nothing")
        if was != here:
            problems.add(f"other {name}" if "sha256" in name else f"{name}: {was}, here {here}")
    for field, here in asked.config:
        was = getattr(found.config, field)
        if was != here and field not in MAY_CHANGE:
            problems.add(f"{field}: {was}, here {here}")
    problems.raise_if_any()
