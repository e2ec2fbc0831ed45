"""Where compiled programs are kept between runs: one private folder of the user's."""

from __future__ import annotations

from pathlib import Path

from prunemap.errors import UserError


def cache_folder(part: str) -> Path:
    """Return ``~/.cache/prunemap/<part>``, made readable by the user alone.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path.home() / ".cache" / "prunemap" / part
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise UserError(f"cache: cannot make {folder}: {error.strerror}") from None
    return folder
