"""Data-parallel training: all processes prune the same weights."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunemap.core.plan import Plan
from prunemap.core.value import write_json
from prunemap.pruning import list_layers
from prunemap.pruning.training.distributed import agree, unwrapped

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("method", ["reweighted", pytest.param("gradual", marks=pytest.mark.whole)])
def test_two_processes_prune_the_same(method: str, make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 3))
    plan = make_plan(list_layers(net, torch.zeros(1, 1, 8, 8)), "unstructured", 0.5)
    write_json(tmp_path / "plan.json", plan)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.unit.pruning.two_processes"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(port), str(tmp_path / "plan.json"), str(tmp_path / f"{rank}.pt"), method],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for kind in one:
        assert one[kind].keys() == other[kind].keys()
        for name, value in one[kind].items():
            assert torch.equal(value, other[kind][name]), (kind, name)
    assert not one["net"]["2.weight"][~one["masks"]["2"]].any()
    assert 0.4 < float(one["masks"]["2"].float().mean()) < 0.6
    assert one["early"]


def test_alone_nothing_is_sent() -> None:
    tensor = torch.ones(3, dtype=torch.bool)
    agree([tensor])
    assert tensor.all()


def test_wrappers_are_taken_off() -> None:
    net = nn.Linear(2, 2)
    assert unwrapped(nn.DataParallel(torch.compile(net, backend="eager"))) is net  # type: ignore[arg-type]
    assert unwrapped(net) is net
