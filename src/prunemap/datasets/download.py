"""Download with a checksum, whole or not at all."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from prunemap.core.files import replacing
from prunemap.errors import Problems

CHUNK = 1 << 18
TIMEOUT_S = 30

Opener = Callable[[str], Any]


def download(urls: Sequence[str], sha256: str, path: Path, opener: Opener | None = None) -> None:
    """Fetch ``path`` from the first of ``urls`` that gives the content with that SHA-256.

    Args:
        opener: what opens a URL as a binary file, for tests.

    Raises:
        UserError: none does; what went wrong with each is listed.
    """
    problems = Problems(f"dataset: cannot download {path.name}")
    for url in urls:
        try:
            with replacing(path) as temporary:
                _fetch(url, sha256, temporary, path.name, opener or _open)
            return
        except _DownloadError as error:
            problems.add(f"{url}: {error}")
    problems.raise_if_any()


class _DownloadError(Exception):
    """One address did not give the file."""


def _fetch(url: str, sha256: str, path: Path, label: str, opener: Opener) -> None:
    try:
        with opener(url) as response:
            found = _copy(response, path, label)
    except (OSError, HTTPException) as error:
        raise _DownloadError(str(error)) from error
    if found != sha256:
        raise _DownloadError(f"SHA-256 is {found}, expected {sha256}")


def _open(url: str) -> Any:
    return urllib.request.urlopen(url, timeout=TIMEOUT_S)


def _copy(response: IO[bytes], path: Path, label: str) -> str:
    """Copy a response to a file under a progress bar on stderr; return the SHA-256 of what came."""
    total = getattr(response, "length", None)
    digest = hashlib.sha256()
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress, open(path, "wb") as file:
        task = progress.add_task(f"downloading {label}", total=total)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
    return digest.hexdigest()
