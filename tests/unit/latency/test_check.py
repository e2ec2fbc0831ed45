"""Held-out points: which they are, and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prunemap.core.latency_table import LatencyPoint, LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.latency import make_probes, measure
from prunemap.latency.check import check_densities, held_out_probes
from tests.unit.latency.fake_timer import LARGE, LARGEST_USUAL, MACHINE, SETTINGS, FakeTimer


def test_held_out_densities_are_measured_at_the_speed_of_the_table(tmp_path: Path) -> None:
    """The machine is slower now, and then faster, than when the table was measured."""
    table = measure(make_probes(SETTINGS[:2]), tmp_path / "latency.json", FakeTimer())
    timer = FakeTimer(anchors_us=[130.0, 50.0])
    found = check_densities(table, timer, 20)
    assert len(found) == 20 and len(timer.batches) == 2
    assert [each.measured_us for each in found] == pytest.approx([10 * each.density for each in found])
    assert [each.error for each in found] == pytest.approx([0.0] * 20)


def table_of(settings: Sequence[LayerSetting]) -> LatencyTable:
    points = [
        LatencyPoint(setting=p.setting, scheme=p.scheme, density=p.density, median_us=1, p10_us=1, p90_us=1, runs=9)
        for p in make_probes(settings)
    ]
    return LatencyTable(machine=MACHINE, threads=1, points=tuple(points))


def test_layers_of_very_many_weights_are_not_held_out() -> None:
    found = held_out_probes(table_of([LARGE, LARGEST_USUAL, SETTINGS[0]]), 1000)
    assert {probe.setting for probe in found} == {LARGEST_USUAL, SETTINGS[0]}
