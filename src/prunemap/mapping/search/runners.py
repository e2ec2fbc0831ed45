"""Runners: devices that measure the latency of plans, each one job at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol

from prunemap.core.plan import Plan
from prunemap.errors import UserError


class Runner(Protocol):
    """A device, on this machine or elsewhere."""

    @property
    def name(self) -> str: ...

    def latency_us(self, plan: Plan) -> float:
        """Compile the network as planned, run it on the device, and return the median time of a run."""


class RunnerPool:
    """Several runners of one kind of device; a plan is measured on the next that is free.

    Raises:
        UserError: there is none.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        if not runners:
            raise UserError("runners: got none, at least one is needed")
        self._free: SimpleQueue[Runner] = SimpleQueue()
        for runner in runners:
            self._free.put(runner)
        self._count = len(runners)

    def latencies_us(self, plans: Sequence[Plan]) -> list[float]:
        """Return the latency of every plan, in order."""
        with ThreadPoolExecutor(self._count) as threads:
            return list(threads.map(self._measure, plans))

    def _measure(self, plan: Plan) -> float:
        runner = self._free.get()
        try:
            return runner.latency_us(plan)
        finally:
            self._free.put(runner)
