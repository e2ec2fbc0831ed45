from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prunemap.devices import claim
from prunemap.devices.claim import claimed

HOLD = """
import signal, sys
from prunemap.devices.claim import claimed
with claimed((0, 1, 2), int(sys.argv[1])) as cpus:
    print(*cpus, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def own_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that no other test sees, on CPUs that are a core each."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(claim, "CORE", str(tmp_path / "cpu{}"))


@contextmanager
def other_process(count: int) -> Iterator[tuple[subprocess.Popen[str], tuple[int, ...]]]:
    """Another process that holds so many of the CPUs 0, 1 and 2."""
    source = HOLD.replace("with", f"import prunemap.devices.claim as c; c.CORE = {claim.CORE!r}\nwith", 1)
    process = subprocess.Popen([sys.executable, "-c", source, str(count)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, tuple(map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def test_the_first_cpus_that_no_other_process_holds() -> None:
    with other_process(1) as (_, theirs), claimed((0, 1, 2), 2) as ours:
        assert theirs == (0,)
        assert ours == (1, 2)
    with claimed((0, 1, 2), 2) as ours:
        assert ours == (0, 1)


def test_waits_for_a_process_and_names_it(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with other_process(2) as (process, _):
        waits = []

        def kill_it(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(60)

        monkeypatch.setattr(claim, "sleep", kill_it)
        with caplog.at_level(logging.WARNING), claimed((0, 1, 2), 2) as ours:
            assert ours == (0, 1)
        assert len(waits) == 2
        assert [record.getMessage() for record in caplog.records] == [
            f"waiting: other processes of prunemap time on the CPUs: {process.pid}"
        ]


def test_too_few_are_let_go_of_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with other_process(2) as (process, _):

        def others_may(_: float) -> None:
            with other_process(1) as (_, theirs):
                assert theirs == (2,)
            process.kill()
            process.wait(60)

        monkeypatch.setattr(claim, "sleep", others_may)
        with claimed((0, 1, 2), 3) as ours:
            assert ours == (0, 1, 2)


def test_hardware_threads_of_a_core_go_together(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(("0-1\n", "0-1\n", "2,3\n")):
        (tmp_path / f"cpu{cpu}").write_text(siblings)
    with other_process(1) as (_, theirs), claimed((0, 1, 2), 1) as ours:
        assert theirs == (0,)
        assert ours == (2,)


def test_a_process_does_not_wait_for_itself() -> None:
    with claimed((0,), 1) as outer, claimed((0,), 1) as inner:
        assert outer == inner == (0,)


def test_goes_on_where_claims_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"prunemap-{os.getuid()}").write_text("in the way")
    with caplog.at_level(logging.WARNING), claimed((3, 5), 1) as ours:
        assert ours == (3,)
    assert "CPUs are not claimed" in caplog.text and "in the way" not in caplog.text


def test_writes_nothing_into_a_folder_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "prunemap-12345").mkdir()
    with caplog.at_level(logging.WARNING), claimed((3, 5), 1) as ours:
        assert ours == (3,)
    assert "prunemap-12345 is another user's" in caplog.text
    assert not list((tmp_path / "prunemap-12345").iterdir())
