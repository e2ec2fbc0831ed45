"""Value: the base of everything that is written to JSON, and its way to and from files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from prunemap.core.files import existing_file, write_text
from prunemap.core.shown import Shown
from prunemap.errors import Problems


class Value(BaseModel, Shown):
    """A frozen, validated value with nothing unknown in it and a JSON round trip."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """Return the value as indented JSON."""
        return self.model_dump_json(indent=1)


AnyValue = TypeVar("AnyValue", bound=Value)


def now() -> str:
    """Return the date and time as values hold them: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: str | Path, value: Value) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, value.to_json() + "\n")


def read_json(path: str | Path, kind: type[AnyValue], what: str) -> AnyValue:
    """Read a value.

    Args:
        what: the name of the argument, for messages.

    Raises:
        UserError: no such file, not JSON, or not a valid ``kind``; every problem is listed.
    """
    text = existing_file(path, what).read_text(encoding="utf-8", errors="replace")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = Problems(f"{what}: {path} is not a valid {kind.__name__} file")
        for one in error.errors(include_url=False):
            where = ".".join(str(part) for part in one["loc"]) or "file"
            problems.add(f"{where}: {one['msg']}")
        problems.raise_if_any()
        raise
