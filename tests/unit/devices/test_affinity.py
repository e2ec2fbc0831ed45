from __future__ import annotations

import logging
import os
import threading

import pytest

from prunemap.devices import allowed_cpus, pinned
from prunemap.errors import UserError

CAN_PIN = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")


@CAN_PIN
def test_pins_to_a_cpu_and_restores_them() -> None:
    before = allowed_cpus()
    with pinned(1) as cpus:
        assert cpus == allowed_cpus() and len(cpus) == 1 and set(cpus) <= set(before)
    assert allowed_cpus() == before


@CAN_PIN
def test_threads_started_inside_are_restricted_too() -> None:
    seen = []
    with pinned(1) as cpus:
        thread = threading.Thread(target=lambda: seen.append(allowed_cpus()))
        thread.start()
        thread.join()
    assert seen == [cpus]


@CAN_PIN
def test_restores_after_an_error() -> None:
    before = allowed_cpus()
    with pytest.raises(KeyboardInterrupt), pinned(1):
        raise KeyboardInterrupt
    assert allowed_cpus() == before


def test_is_a_no_op_with_a_notice_where_the_system_cannot(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with caplog.at_level(logging.WARNING), pinned(1) as cpus:
        assert cpus == ()
    assert "not pinned" in caplog.text


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_refuses_what_the_machine_has_not(threads: int) -> None:
    with (
        pytest.raises(UserError, match=f"threads: got {threads}, allowed are 1 to {len(allowed_cpus())}"),
        pinned(threads),
    ):
        pass
