"""Where compiled programs are kept between runs: one private folder of the user's. What is in it can always be made
again: a damaged entry is, and the least recently used go when a part grows too large."""

from __future__ import annotations

import os
from pathlib import Path

from prunemap.core.files import replacing
from prunemap.errors import UserError

MAX_PART_BYTES = 256 << 20


def cache_folder(part: str) -> Path:
    """Return ``~/.cache/prunemap/<part>``, made readable by the user alone.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder = Path.home() / ".cache" / "prunemap" / part
    except RuntimeError as error:
        raise UserError(f"cache: this user has no home folder ({error})") from None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise UserError(f"cache: cannot make {folder}: {error.strerror}") from None
    return folder


def read_kept(part: str, name: str) -> bytes | None:
    """Return what is kept under a name, None if there is nothing."""
    try:
        file = cache_folder(part) / name
        data = file.read_bytes()
        os.utime(file)  # used now
    except (UserError, OSError):
        return None
    return data


def keep(part: str, name: str, data: bytes) -> Path | None:
    """Keep data under a name, in place of anything else there; return the file, None where no cache can be."""
    try:
        file = cache_folder(part) / name
        if read_kept(part, name) != data:
            with replacing(file) as temporary:  # it may be loaded: what is loaded must not be written to
                temporary.write_bytes(data)
            _trim(file.parent)
    except (UserError, OSError):
        return None
    return file


def _trim(folder: Path) -> None:
    """Remove the files that were not used for longest, until the others, or one, are no more than MAX_PART_BYTES."""
    found = [(each.stat(), each) for each in folder.iterdir() if not each.name.startswith(".")]
    total = sum(status.st_size for status, _ in found)
    for status, file in sorted(found, key=lambda each: each[0].st_mtime_ns)[:-1]:
        if total <= MAX_PART_BYTES:
            return
        file.unlink(missing_ok=True)
        total -= status.st_size
