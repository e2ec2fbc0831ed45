from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from prunemap.core.lock import locked
from prunemap.errors import UserError


def _hold(path: Path, held: Event) -> None:
    with locked(path):
        held.set()
        signal.pause()


def _add(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            path.write_text(str(int(path.read_text()) + 1))


def test_a_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    path, context = tmp_path / "table.json", multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(path, held))
    process.start()
    assert held.wait(60)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    assert (tmp_path / ".table.json.lock").exists()
    with locked(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_at_a_time(tmp_path: Path) -> None:
    path, context = tmp_path / "count", multiprocessing.get_context("spawn")
    path.write_text("0")
    processes = [context.Process(target=_add, args=(path, 200)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert path.read_text() == "400"


def test_who_does_not_wait_is_told(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    with locked(path):
        with (
            pytest.raises(UserError, match=r"search\.jsonl is being written by another process"),
            locked(path, wait=False),
        ):
            pass
        assert (tmp_path / ".search.jsonl.lock").exists()
    with locked(path, wait=False):
        pass


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output: cannot write"), locked(tmp_path / "file" / "table.json"):
        pass
