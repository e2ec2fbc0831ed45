"""Whole-or-nothing file output, and pydantic values to and from JSON files with readable errors."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from prunemap.errors import Problems, UserError

Value = TypeVar("Value", bound=BaseModel)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without an error.

    Raises:
        UserError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise UserError(f"output: cannot write {path}: {error.strerror or error}") from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"output: cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: BaseModel) -> None:
    """Write a pydantic value as indented JSON, whole or not at all."""
    write_text(path, value.model_dump_json(indent=1) + "\n")


def read_json(path: str | Path, kind: type[Value], what: str) -> Value:
    """Read a pydantic value.

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


def existing_file(path: str | Path, what: str) -> Path:
    """Return ``path`` if it is a readable file.

    Raises:
        UserError: it is not.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{what}: no such file: {path}")
    if not path.is_file():
        raise UserError(f"{what}: {path} is not a file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{what}: {path} cannot be read (permission denied)")
    return path


def sha256_of(path: str | Path) -> str:
    """Return the hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
