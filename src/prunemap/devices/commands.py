"""Commands of this machine that talk to a device: with a time limit, and gone when we are interrupted."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from prunemap.errors import UserError

KILLED_S = 5
"""How long a command that was killed may take to go."""
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Outcome:
    """What a command left."""

    code: int
    """Its exit code; of one that a signal ended, 128 + the signal, as shells say it."""
    out: str
    err: str

    @property
    def text(self) -> str:
        """What it said, errors first."""
        return f"{self.err}\n{self.out}".strip()


class TimeLimitError(Exception):
    """A command took too long; it was killed."""


def run_command(
    command: Sequence[str], *, timeout_s: float, stdin: Path | None = None, stdout: Path | None = None
) -> Outcome:
    """Run a command to its end.

    Args:
        stdin: what it reads; None = nothing.
        stdout: where its output goes; None = into the outcome.

    Raises:
        TimeLimitError: it took longer than ``timeout_s``.
        UserError: there is no such command.
    """
    with (
        open(stdin or os.devnull, "rb") as source,
        open(stdout, "wb") if stdout else tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        _started(command, source, out, err) as process,
    ):
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeLimitError from None
        return Outcome(_as_shells_say(code), "" if stdout else _text(out), _text(err))


def lines_of(command: Sequence[str], *, silence_s: float) -> Iterator[str]:
    """Run a command and yield its lines as they come, those of stderr at the end.

    Raises:
        TimeLimitError: it said nothing for ``silence_s``.
        UserError: there is no such command.
    """
    with (
        open(os.devnull, "rb") as source,
        tempfile.TemporaryFile() as err,
        _started(command, source, subprocess.PIPE, err) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(silence_s):
                raise TimeLimitError
            data = os.read(process.stdout.fileno(), CHUNK_BYTES)
            *whole, rest = (rest + data).split(b"\n")
            yield from (_decoded(line) for line in whole)
            if not data:
                break
        process.wait(KILLED_S)
        yield from (line for line in (_decoded(rest), *_text(err).splitlines()) if line)


@contextmanager
def _started(
    command: Sequence[str], source: IO[bytes], out: IO[bytes] | int, err: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a process group of its own, all of which is gone at the end of the block."""
    try:
        process = subprocess.Popen(list(command), stdin=source, stdout=out, stderr=err, start_new_session=True)
    except OSError as error:
        raise UserError(f"device: {command[0]} cannot be started here ({error.strerror})") from None
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(KILLED_S)
        if process.stdout:
            process.stdout.close()


def _as_shells_say(code: int) -> int:
    return code if code >= 0 else 128 - code


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return _decoded(file.read())


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n")
