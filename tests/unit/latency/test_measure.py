from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import pytest

from prunemap.compiler import LayerCase, interpret_layers
from prunemap.core.latency_table import LatencyTable, Machine
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import read_json
from prunemap.devices import allowed_cpus
from prunemap.errors import InternalError, UserError
from prunemap.latency import LocalTimer, Probe, make_probes, measure
from prunemap.latency.measure import BATCH_FLOATS, BATCH_PROBES, split_batches
from prunemap.latency.time_cases import check_outputs, fastest, sums_of

MACHINE = Machine(cpu="synthetic", arch="none", cores=1, system="none", target="t", compiler="c")
SETTINGS = [
    LayerSetting(kind="conv", in_channels=8, out_channels=8, kernel=(3, 3), pads=(1, 1, 1, 1), size=(size, size))
    for size in range(8, 14)
]


@dataclass
class FakeTimer:
    """Latency = 10 µs × density × run number; raises at the batch that it is told to."""

    threads: int = 1
    fingerprint: Machine = MACHINE
    interrupt_at: int = -1
    batches: list[list[Probe]] = field(default_factory=list)

    def machine(self) -> Machine:
        return self.fingerprint

    def time(self, probes: Sequence[Probe]) -> np.ndarray:
        if len(self.batches) == self.interrupt_at:
            raise KeyboardInterrupt
        self.batches.append(list(probes))
        return np.array([[probe.density * 1e-5 * (run + 1) for probe in probes] for run in range(11)])


def test_points_are_medians_with_their_spread(tmp_path: Path) -> None:
    probes = make_probes(SETTINGS[:1])
    table = measure(probes, tmp_path / "latency.json", FakeTimer(), command="prunemap profile")
    assert [(p.setting, p.scheme, p.density) for p in table.points] == [
        (p.setting, p.scheme, p.density) for p in probes
    ]
    dense = table.points[0]
    assert (dense.median_us, dense.p10_us, dense.p90_us) == pytest.approx((60, 20, 100))
    assert dense.runs == 11
    assert (table.machine, table.threads, table.command) == (MACHINE, 1, "prunemap profile")
    assert read_json(tmp_path / "latency.json", LatencyTable, "table") == table


def test_an_interrupt_keeps_what_was_done_and_the_next_call_goes_on(tmp_path: Path) -> None:
    path, probes = tmp_path / "latency.json", make_probes(SETTINGS)
    first = FakeTimer(interrupt_at=1)
    with pytest.raises(KeyboardInterrupt):
        measure(probes, path, first)
    assert len(read_json(path, LatencyTable, "table").points) == len(first.batches[0]) == BATCH_PROBES
    second = FakeTimer()
    table = measure(probes, path, second)
    assert {(p.setting, p.scheme, p.density) for p in table.points} == {
        (p.setting, p.scheme, p.density) for p in probes
    }
    assert not set(first.batches[0]) & {probe for batch in second.batches for probe in batch}


def test_nothing_is_measured_twice_and_other_layers_are_added(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    before = measure(make_probes(SETTINGS[:2]), path, FakeTimer())
    timer = FakeTimer()
    assert measure(make_probes(SETTINGS[:2]), path, timer) == before
    assert timer.batches == []
    after = measure(make_probes(SETTINGS[1:3]), path, timer)
    assert {probe.setting for batch in timer.batches for probe in batch} == {SETTINGS[2]}
    assert after.points[: len(before.points)] == before.points


@pytest.mark.parametrize(
    ("timer", "message"),
    [
        (FakeTimer(threads=2), "threads: 1, here 2"),
        (FakeTimer(fingerprint=MACHINE.model_copy(update={"cpu": "other"})), "cpu: 'synthetic', here 'other'"),
        (FakeTimer(fingerprint=MACHINE.model_copy(update={"compiler": "d"})), "compiler: 'c', here 'd'"),
    ],
)
def test_a_table_of_other_conditions_is_left_alone(tmp_path: Path, timer: FakeTimer, message: str) -> None:
    path = tmp_path / "latency.json"
    measure(make_probes(SETTINGS[:1]), path, FakeTimer())
    before = path.read_text()
    with pytest.raises(UserError, match=message):
        measure(make_probes(SETTINGS[1:2]), path, timer)
    assert path.read_text() == before
    assert timer.batches == []


def test_batches_are_bounded_and_keep_the_order() -> None:
    large = LayerSetting(kind="conv", in_channels=64, out_channels=64, size=(224, 224))
    probes = make_probes([large, *SETTINGS])
    batches = list(split_batches(probes))
    assert [probe for batch in batches for probe in batch] == probes
    for batch in batches:
        floats = sum(prod(p.setting.weight_shape) + p.setting.out_channels * prod(p.setting.out_size) for p in batch)
        assert len(batch) == 1 or (floats <= BATCH_FLOATS and len(batch) <= BATCH_PROBES)


def test_threads_are_checked_before_anything_starts() -> None:
    with pytest.raises(UserError, match="threads: got 0"):
        LocalTimer(threads=0)
    with pytest.raises(UserError, match="threads: got"):
        LocalTimer(threads=len(allowed_cpus()) + 1)


@pytest.mark.parametrize("damage", [1.01, np.nan])
def test_a_wrong_output_is_refused(damage: float) -> None:
    case = LayerCase(SETTINGS[0], Probe(SETTINGS[0], SchemeSpec("filter"), 0.5).weight())
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 8), dtype=np.float32)
    (right,) = interpret_layers([case], {"x0": x})
    check_outputs([case], [right], [[right]])
    with pytest.raises(InternalError, match=r"8→8 at 8x8 with density 0\.5 is wrong"):
        check_outputs([case], [right], [[right, (right * damage).astype(np.float32)]])


def test_the_fastest_variant_of_each_case_is_found() -> None:
    seconds = np.array([[3, 1, 2, 5, 4, 9], [3, 1, 2, 5, 4, 1], [3, 9, 2, 5, 4, 9]], float)
    assert fastest(seconds, [3, 1, 2]) == [1, 3, 4]


def test_all_steps_of_a_layer_are_its_time() -> None:
    seconds = np.array([[1, 2, 4, 8, 16], [10, 20, 40, 80, 160]], float)
    assert sums_of(seconds, {1: [0, 3], 0: [2]}).tolist() == [[4, 9], [40, 90]]
