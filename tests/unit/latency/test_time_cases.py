"""Times of layer cases that are compiled with several tiles each, from the turns of a made-up program."""

from __future__ import annotations

import numpy as np

from prunemap.compiler import LayerCase
from prunemap.core.artifact import KernelChoice, Manifest
from prunemap.latency.time_cases import PreparedCases
from prunemap.latency.turns import Turn
from prunemap.runtime import Program
from tests.unit.latency.fake_timer import SETTINGS


def program_of(slots: tuple[str, ...]) -> Program:
    """Return a program of which only slots and kernels are known."""
    layers = tuple(KernelChoice(node, f"kernel of {node}", "dense", 1.0, 576) for node in slots if "case" in node)
    return Program(Manifest("0", "t", "c", 1, (), (), slots, layers, "", "", 0), b"", b"", 0, 0)


def test_a_tile_is_chosen_on_every_other_run_and_its_time_taken_from_the_runs_between() -> None:
    """The second tile of the first case wins the runs that choose, the first one those between."""
    program = program_of(("feed", "case0", "case1", "case2"))
    cases = [LayerCase(setting, np.ones(setting.weight_shape, np.float32)) for setting in SETTINGS[:2]]
    prepared = PreparedCases([[cases[0]] * 2, cases[1:]], program, program, {}, np.ones(2))
    choosing, between = [9.0, 3.0, 1.0, 100.0], [9.0, 1.0, 2.0, 100.0]
    turns = [Turn(np.full(4, 7.0), np.array([choosing, between] * 2)) for _ in range(3)]
    times = prepared.times_of(turns)
    assert times.kernels == ("kernel of case1", "kernel of case2")
    np.testing.assert_allclose(times.seconds, [[2.0, 100.0]] * 6)
