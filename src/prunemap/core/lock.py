"""One process at a time: a lock beside a file, which the system lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunemap.errors import UserError


@contextmanager
def locked(path: str | Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of ``path``; it is the file ``.NAME.lock`` beside it, there only meanwhile.

    Args:
        wait: for another process that holds it.

    Raises:
        UserError: the folder cannot be written, or the lock is held and not waited for.
    """
    path = Path(path)
    lock = path.parent / f".{path.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquire(lock, 0 if wait else fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"output: {path} is being written by another process; wait for it, or name another (-o)"
        ) from None
    except OSError as error:
        raise UserError(f"output: cannot write {path}: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who waits for this one finds that it is gone
        os.close(handle)


def _acquire(lock: Path, flags: int) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | flags)
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except FileNotFoundError:  # the one before has let go of it and removed it
            pass
        except BlockingIOError:
            os.close(handle)
            raise
        os.close(handle)
