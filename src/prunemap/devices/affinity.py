"""Pinning: while a measurement runs, the process may use N of its CPUs only, and no other of prunemap times on them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from prunemap.devices.claim import claimed
from prunemap.errors import UserError

log = logging.getLogger(__name__)


def allowed_cpus() -> tuple[int, ...]:
    """Return the CPUs that this thread may run on, in rising order."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def check_threads(threads: int) -> None:
    """Check a number of threads against the CPUs that there are.

    Raises:
        UserError: fewer than one, or more than the CPUs that this process may use.
    """
    cpus = len(allowed_cpus())
    if not 1 <= threads <= cpus:
        raise UserError(f"threads: got {threads}, allowed are 1 to {cpus} (the CPUs that this process may use)")


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Restrict the calling thread, and threads started inside the block, to ``threads`` of the allowed CPUs.

    These are the first on which no other process of prunemap is timing (:func:`~prunemap.devices.claim.claimed`).
    Yields them, () where the system cannot pin (macOS); a notice is logged then. Load engines inside the block: only
    threads started there inherit the restriction.

    Raises:
        UserError: see :func:`check_threads`.
    """
    check_threads(threads)
    if not hasattr(os, "sched_setaffinity"):
        log.warning("threads are not pinned: this system has no CPU affinity; expect more spread in the times")
        yield ()
        return
    before = allowed_cpus()
    with claimed(before, threads) as cpus:
        os.sched_setaffinity(0, cpus)
        try:
            yield cpus
        finally:
            os.sched_setaffinity(0, before)
