"""Pool: what evaluates plans, one at a time here, or several at once elsewhere."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from prunemap.core.plan import Plan
from prunemap.mapping.search.evaluation import Evaluate, FastAccuracy


class Job(NamedTuple):
    """One evaluation to do."""

    key: str
    plan: Plan
    floors: tuple[float, ...] = ()
    second_look: bool = False


class Pool(Protocol):
    """Takes jobs and gives them back as they are finished."""

    @property
    def workers(self) -> int:
        """How many jobs it works on at once."""

    def submit(self, job: Job) -> None:
        """Begin a job."""

    def wait(self, seconds: float | None = None) -> tuple[str, FastAccuracy] | None:
        """Return the key and the result of the next one that is finished.

        Args:
            seconds: None is returned where none is finished so soon; a pool that works in ``wait`` ends its job first.

        Raises:
            UserError: it cannot be done.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is not finished."""


class SequentialPool:
    """Evaluates in this process, one plan after the other."""

    workers = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate, self._jobs = evaluate, deque[Job]()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self, seconds: float | None = None) -> tuple[str, FastAccuracy]:
        job = self._jobs.popleft()
        return job.key, self._evaluate(job.plan, job.floors, second_look=job.second_look)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.clear()
