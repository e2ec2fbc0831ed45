"""Evaluations on Ray workers: results, errors, a worker that dies, an address that nobody answers."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from prunemap.core.plan import Plan
from prunemap.errors import UserError
from prunemap.mapping.search import FastAccuracy, Job, RayPool, Rung, ray_pool

NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (extra ray)")
EMPTY = Plan(layers=())


class Deadly:
    """Kills its worker the first time it is asked for the accuracy 0.5; cannot do 0.9; a second look has a step."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        if floors[0] == 0.9:
            raise UserError("plan: it does not fit")
        if floors[0] == 0.5 and not self.mark.exists():
            self.mark.write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
        return FastAccuracy(rungs=(Rung(steps=int(second_look), accuracy=floors[0]),), complete=True, seconds=0.0)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[RayPool]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own
        with RayPool(Deadly(tmp_path / "mark"), workers=2) as pool:
            yield pool


@NEEDS_RAY
@pytest.mark.filterwarnings("ignore")
def test_results_come_back_also_of_a_worker_that_died_and_errors_are_told(pool: RayPool, tmp_path: Path) -> None:
    for accuracy in (0.1, 0.5, 0.3):
        pool.submit(Job(str(accuracy), EMPTY, (accuracy,), second_look=accuracy == 0.3))
    found = dict(pool.wait() for _ in range(3))
    assert (tmp_path / "mark").exists()
    assert {key for key, result in found.items() if result.rungs[0].steps == 1} == {"0.3"}
    assert {key: result.rungs[0].accuracy for key, result in found.items()} == {"0.1": 0.1, "0.5": 0.5, "0.3": 0.3}
    pool.submit(Job("bad", EMPTY, (0.9,)))
    with pytest.raises(UserError, match="plan: it does not fit"):
        pool.wait()


@NEEDS_RAY
def test_an_address_that_nobody_answers_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match=f"--ray: {address} cannot be reached"):
            RayPool(Deadly(Path("mark")), workers=1, address=address)
    for address in ("here", "127.0.0.1", "ray://", "host:port"):
        with pytest.raises(UserError, match="allowed are HOST:PORT"):
            RayPool(Deadly(Path("mark")), workers=1, address=address)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'prunemap\[ray\]'"):
        RayPool(Deadly(Path("mark")), workers=2)
