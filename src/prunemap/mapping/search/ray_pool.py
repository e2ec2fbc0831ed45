"""RayPool: evaluations on the workers of a Ray cluster (https://docs.ray.io), on this machine or on many."""

from __future__ import annotations

import socket
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from prunemap.errors import PrunemapError, UserError
from prunemap.mapping.search.evaluation import Evaluate, FastAccuracy
from prunemap.mapping.search.pool import Job

RETRIES = 3
"""How often an evaluation is begun anew whose worker died."""
REACHED_WITHIN_SECONDS = 5.0


class RayPool:
    """Evaluates on Ray workers; one that dies is replaced, and its evaluation begun anew.

    What is evaluated with is sent once to each machine. Results that are there stay there if the cluster is lost: the
    search has them in its journal.
    """

    def __init__(self, evaluate: Evaluate, workers: int, address: str = "", threads: int = 1) -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            address: of the head node, HOST:PORT, ray://HOST:PORT or auto; "" = start one here.
            threads: that each evaluation takes.

        Raises:
            UserError: ray is not installed, or the address cannot be reached.
        """
        self._ray, self.workers = _ray(), workers
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address:
            _check_reachable(address)
            options["address"] = address
        else:
            options |= {"num_cpus": workers * threads, "include_dashboard": False}
        try:
            self._ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError, OSError) as error:
            raise UserError(f"--ray: no cluster at {address or 'this machine'}: {str(error).splitlines()[0]}") from None
        self._task = self._ray.remote(num_cpus=threads, max_retries=RETRIES)(_call)
        self._evaluate = self._ray.put(evaluate)
        self._running: dict[Any, str] = {}

    def submit(self, job: Job) -> None:
        self._running[self._task.remote(self._evaluate, job)] = job.key

    def wait(self, seconds: float | None = None) -> tuple[str, FastAccuracy] | None:
        found, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if not found:
            return None
        ready = found[0]
        key = self._running.pop(ready)
        try:
            result: FastAccuracy = self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, PrunemapError) else None
            raise (cause or error) from None
        except self._ray.exceptions.RayError as error:
            raise UserError(
                f"workers: an evaluation was begun {1 + RETRIES} times and its worker died every time: "
                f"{str(error).splitlines()[0]}; what was finished is kept, --resume goes on"
            ) from None
        return key, result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.clear()
        self._ray.shutdown()


def _call(evaluate: Evaluate, job: Job) -> FastAccuracy:
    return evaluate(job.plan, job.floors, second_look=job.second_look)


def _ray() -> Any:
    if find_spec("ray") is None:
        raise UserError("--workers/--ray: several workers need ray; install it with: pip install 'prunemap[ray]'")
    return import_module("ray")


def _check_reachable(address: str) -> None:
    """Check that something answers: Ray itself would try for minutes.

    Raises:
        UserError: nothing does, or it is not an address.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--ray: got {address!r}, allowed are HOST:PORT, ray://HOST:PORT and auto")
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray: {address} cannot be reached: {error}") from None
