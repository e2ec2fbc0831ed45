"""Runners: devices that measure the latency of plans, each one job at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self

from prunemap.core.plan import Plan
from prunemap.errors import UserError

THIS_MACHINE = "local"
"""Name of a runner that measures on the machine that searches."""


class Runner(Protocol):
    """A device, on this machine or elsewhere."""

    @property
    def name(self) -> str: ...

    def latency_us(self, plan: Plan) -> float:
        """Compile the network as planned, run it on the device, and return the median time of a run."""


class RunnerPool:
    """Several runners of one kind of device; a plan is measured on the next that is free, in the order of asking.

    Leaving it as a context drops what has not begun.

    Raises:
        UserError: there is none.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        if not runners:
            raise UserError("runners: got none, at least one is needed")
        self._free: SimpleQueue[Runner] = SimpleQueue()
        for runner in runners:
            self._free.put(runner)
        self.count = len(runners)
        self.beside_training = all(runner.name != THIS_MACHINE for runner in runners)
        """Whether plans may be measured while others are trained: not where that is on the same machine."""
        self._threads = ThreadPoolExecutor(self.count)

    def begin(self, plan: Plan) -> Future[float]:
        """Begin to measure a plan; the result will be its latency in microseconds."""
        return self._threads.submit(self._measure, plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _measure(self, plan: Plan) -> float:
        runner = self._free.get()
        try:
            return runner.latency_us(plan)
        finally:
            self._free.put(runner)
