"""Claims on CPUs, so that no two processes of prunemap time on the same one."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.05
CORE = "/sys/devices/system/cpu/cpu{}/topology/core_cpus_list"


@contextmanager
def claimed(cpus: Sequence[int], count: int) -> Iterator[tuple[int, ...]]:
    """Hold ``count`` of the CPUs: the first that no other process of this user holds; wait while these are too few.

    CPUs of one core are claimed together. Who waits logs for which processes. A process never waits for itself, so
    that blocks nest. Where claims cannot be written, that is logged, and the first CPUs are taken unclaimed.
    """
    folder = Path(tempfile.gettempdir()) / f"prunemap-{os.getuid()}"
    told = False
    while True:
        with ExitStack() as stack:
            try:
                _make_own(folder)
                found, holders = _take(stack, folder, cpus, count)
            except OSError as error:
                log.warning("CPUs are not claimed (%s); other processes of prunemap may time on them, too", error)
                found, holders = tuple(cpus[:count]), set()
            if len(found) == count:
                yield found
                return
        if not told:
            log.warning("waiting: other processes of prunemap time on the CPUs: %s", ", ".join(sorted(holders)))
            told = True
        sleep(LOOK_AGAIN_SECONDS)


def _make_own(folder: Path) -> None:
    """Make a folder in which nobody else can lay links; raise ``OSError`` where it is another user's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")


def _take(stack: ExitStack, folder: Path, cpus: Sequence[int], count: int) -> tuple[tuple[int, ...], set[str]]:
    """Return the first CPUs that are free, now held by ``stack``, and who has those before them."""
    found: list[int] = []
    holders = set()
    for cpu in cpus:
        if len(found) == count:
            break
        holder = _claim(stack, folder / f"core-{_core(cpu)}.pid")
        if holder is None:
            found.append(cpu)
        else:
            holders.add(holder)
    return tuple(found), holders


def _claim(stack: ExitStack, path: Path) -> str | None:
    """Lock the file until ``stack`` ends, or return the process that has it; the lock dies with its process."""
    handle = stack.enter_context(path.open("a+", encoding="ascii"))
    own = str(os.getpid())
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        holder = handle.read()
        return None if holder == own else holder
    handle.truncate(0)
    handle.write(own)
    handle.flush()
    return None


def _core(cpu: int) -> str:
    """Return the first CPU of the core that a CPU is a hardware thread of."""
    siblings = Path(CORE.format(cpu))
    return (
        siblings.read_text(encoding="ascii").replace("-", ",").split(",")[0].strip() if siblings.exists() else str(cpu)
    )
