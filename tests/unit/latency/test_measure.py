from __future__ import annotations

import json
import logging
import multiprocessing
import re
from math import prod
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from prunemap.compiler import LayerCase
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import read_json
from prunemap.devices import allowed_cpus
from prunemap.errors import InternalError, UserError
from prunemap.latency import LocalTimer, Predictor, Probe, ProbeTimes, make_probes, measure, profile_models
from prunemap.latency.measure import ATTEMPTS, BATCH_FLOATS, BATCH_PROBES, TIMINGS, split_batches
from prunemap.latency.time_cases import check_errors, fastest, sums_of
from tests.networks import residual_network, save
from tests.unit.latency.fake_timer import MACHINE, SETTINGS, FakeTimer


def test_points_are_medians_with_their_spread_and_the_anchor(tmp_path: Path) -> None:
    probes = make_probes(SETTINGS[:1])
    timer = FakeTimer(spreads={probes[0]: [1.21]})
    table = measure(probes, tmp_path / "latency.json", timer, command="prunemap profile")
    assert [(p.setting, p.scheme, p.density) for p in table.points] == [
        (p.setting, p.scheme, p.density) for p in probes
    ]
    dense = table.points[0]
    assert (dense.median_us, dense.p10_us, dense.p90_us) == pytest.approx((10, 10 / 1.1, 11))
    assert dense.runs == 11
    assert dense.anchor_us == pytest.approx(100)
    assert (table.machine, table.threads, table.command) == (MACHINE, 1, "prunemap profile")
    assert read_json(tmp_path / "latency.json", LatencyTable, "table") == table
    assert not table.notes


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


def test_where_no_terminal_shows_a_bar_lines_say_how_far_it_is_and_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(make_probes(SETTINGS), tmp_path / "latency.json", FakeTimer())
    *lines, _bar = capsys.readouterr().err.splitlines()
    found = [re.fullmatch(r"measuring layers: (\d+) %(?:, \d:\d\d:\d\d left)?", line) for line in lines]
    tenths = [int(each[1]) // 10 for each in found if each]
    assert len(tenths) == len(lines) >= 4
    assert tenths == sorted(set(tenths))
    assert "left" in lines[-1]


def test_nothing_is_measured_twice_and_other_layers_are_added(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    before = measure(make_probes(SETTINGS[:2]), path, FakeTimer())
    timer = FakeTimer()
    assert measure(make_probes(SETTINGS[:2]), path, timer) == before
    assert timer.batches == []
    after = measure(make_probes(SETTINGS[1:3]), path, timer)
    assert {probe.setting for batch in timer.batches for probe in batch} == {SETTINGS[2]}
    assert after.points[: len(before.points)] == before.points


def test_a_batch_is_timed_again_at_once_while_points_of_it_are_unstable(tmp_path: Path) -> None:
    probes = make_probes(SETTINGS[:1])
    timer = FakeTimer(spreads={probes[1]: [2.0, 1.1, 1.2]})
    table = measure(probes, tmp_path / "latency.json", timer)
    batches = list(split_batches(probes))
    assert timer.batches == [batches[0], *batches]
    assert {point.attempts for point in table.points} == {1}
    assert table.points[1].spread == pytest.approx(1.1)


def test_a_point_that_stays_unstable_is_measured_once_more_and_the_best_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probes = make_probes(SETTINGS[:1])
    calmed, wild = probes[1], probes[2]
    worse = [2.0] * TIMINGS
    timer = FakeTimer(spreads={calmed: [*worse, 1.1], wild: [2.0, 1.5, 1.7, 1.9, 1.8, 1.6, 1.0]})
    path = tmp_path / "latency.json"
    with caplog.at_level(logging.WARNING):
        table = measure(probes, path, timer)
    assert timer.batches[-TIMINGS - 1 :] == [list(split_batches(probes))[-1], *[[calmed, wild]] * TIMINGS]
    by_probe = {Probe(p.setting, p.scheme, p.density): p for p in table.points}
    assert (by_probe[calmed].attempts, by_probe[calmed].unstable) == (ATTEMPTS, False)
    assert by_probe[calmed].spread == pytest.approx(1.0)
    assert (by_probe[wild].attempts, by_probe[wild].unstable) == (ATTEMPTS, True)
    assert by_probe[wild].spread == pytest.approx(1.5)
    assert all(point.attempts == 1 for probe, point in by_probe.items() if probe not in (calmed, wild))
    assert f"1 of {len(probes)} points stay unstable" in caplog.text
    again = FakeTimer()
    assert measure(probes, path, again) == table and not again.batches, "its attempts are used up"


def test_an_interrupt_forgets_no_unstable_point(tmp_path: Path) -> None:
    probes, path = make_probes(SETTINGS[:1]), tmp_path / "latency.json"
    first = FakeTimer(spreads={probes[1]: [2.0] * TIMINGS})
    first.interrupt_at = TIMINGS - 1 + len(list(split_batches(probes)))
    with pytest.raises(KeyboardInterrupt):
        measure(probes, path, first)
    second = FakeTimer()
    table = measure(probes, path, second)
    assert second.batches == [[probes[1]]]
    assert not any(point.unstable for point in table.points)


def test_batches_in_which_the_machine_was_slower_are_measured_again_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probes = make_probes(SETTINGS)
    batches = list(split_batches(probes))
    timer = FakeTimer(anchors_us=[100, 100, 130])
    with caplog.at_level(logging.WARNING):
        table = measure(probes, tmp_path / "latency.json", timer)
    assert [probe for batch in timer.batches[len(batches) :] for probe in batch] == batches[2]
    assert {round(point.anchor_us or 0) for point in table.points} == {100}
    assert {point.attempts for point in table.points} == {1, 2}
    said = f"speed moved by more than 5%: {len(batches[2])} of {len(probes)} points"
    assert said in caplog.text and said in table.notes[0]
    more = [*probes, *make_probes([SETTINGS[0].model_copy(update={"size": (20, 20)})])]
    table = measure(more, tmp_path / "latency.json", FakeTimer(anchors_us=[130]))
    assert len(table.notes) == 1 and said not in table.notes[0] and "speed moved" in table.notes[0]


def test_nothing_is_owed_where_the_usual_speed_is_another_by_what_was_measured_again(tmp_path: Path) -> None:
    probes, path = make_probes(SETTINGS), tmp_path / "latency.json"
    assert len(list(split_batches(probes))) == 11
    first = FakeTimer(anchors_us=[*2 * [100.0], *4 * [105.2], *5 * [120.0]])  # off the median by -4.9, 0 and 14 %
    table = measure(probes, path, first)
    assert len(first.batches) == 11 + 5 + 4, "then 105.2 is 5.2 % off"
    assert f"{sum(map(len, first.batches[11:]))} of {len(probes)} points" in table.notes[0]
    before, second = path.read_bytes(), FakeTimer()
    measure(probes, path, second)
    assert second.batches == [] and path.read_bytes() == before


def test_a_batch_that_is_unsteady_and_slow_is_counted_as_slow(tmp_path: Path) -> None:
    probes = make_probes(SETTINGS)
    batches = list(split_batches(probes))
    timer = FakeTimer(anchors_us=[100, 100, *[130] * TIMINGS], spreads={batches[2][0]: [2.0] * TIMINGS})
    table = measure(probes, tmp_path / "latency.json", timer)
    assert timer.batches[-1] == batches[2]
    assert f"{len(batches[2])} of {len(probes)} points were measured again" in table.notes[0]


def test_an_interrupt_forgets_no_batch_in_which_the_machine_was_slower(tmp_path: Path) -> None:
    probes, path = make_probes(SETTINGS), tmp_path / "latency.json"
    batches = list(split_batches(probes))
    with pytest.raises(KeyboardInterrupt):
        measure(probes, path, FakeTimer(anchors_us=[100, 100, 130], interrupt_at=len(batches)))
    second = FakeTimer()
    table = measure(probes, path, second)
    assert [probe for batch in second.batches for probe in batch] == batches[2]
    assert {round(point.anchor_us or 0) for point in table.points} == {100}


def test_predictions_divide_by_the_anchor(tmp_path: Path) -> None:
    """A batch that stays slow counts at the speed of the others."""
    probes = make_probes(SETTINGS)
    batches = list(split_batches(probes))
    timer = FakeTimer(anchors_us=[*len(batches) * [100.0], 130.0])
    timer.anchors_us[1] = 130.0
    table = measure(probes, tmp_path / "latency.json", timer)
    assert {round(point.anchor_us or 0) for point in table.points} == {100, 130}
    predictor = Predictor(table)
    for probe in probes:
        assert predictor.latency_us(probe.setting, probe.scheme, probe.density) == pytest.approx(10 * probe.density)


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


def test_force_adds_to_a_table_of_another_machine_and_the_file_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "latency.json"
    measure(make_probes(SETTINGS[:1]), path, FakeTimer())
    other = FakeTimer(fingerprint=MACHINE.model_copy(update={"compiler": "d"}))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            table = measure(make_probes(SETTINGS[1:2]), path, other, force=True)
    assert {point.setting for point in table.points} == set(SETTINGS[:2])
    assert table.machine == MACHINE
    (note,) = table.notes
    assert "--force" in note and "compiler: 'c', here 'd'" in note and note in caplog.text
    with pytest.raises(UserError, match="threads: 1, here 2"):
        measure(make_probes(SETTINGS[1:2]), path, FakeTimer(threads=2), force=True)


@pytest.mark.parametrize("content", ['{"version": 1, "points"', "\x00\xff", '{"version": 9, "points": []}'])
@pytest.mark.parametrize("force", [False, True])
def test_a_corrupted_table_is_refused_and_stays_as_it_is(tmp_path: Path, content: str, force: bool) -> None:
    path, timer = tmp_path / "latency.json", FakeTimer()
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"latency table: .*latency\.json is not a valid LatencyTable file"):
        measure(make_probes(SETTINGS[:1]), path, timer, force=force)
    assert path.read_bytes() == content.encode("latin-1")
    assert timer.batches == [] and list(tmp_path.iterdir()) == [path]


def _profile(path: Path, settings: list[LayerSetting], start: Barrier) -> None:
    start.wait(60)
    measure(make_probes(settings), path, FakeTimer())


def test_two_profiles_of_one_table_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    context = multiprocessing.get_context("spawn")
    shares = SETTINGS[:4], SETTINGS[2:]
    start = context.Barrier(2)
    processes = [context.Process(target=_profile, args=(path, list(share), start)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    points = [(p["setting"]["size"][0], p["scheme"], p["density"]) for p in json.loads(path.read_text())["points"]]
    wanted = [(p.setting.size[0], str(p.scheme), p.density) for p in make_probes(SETTINGS)]
    assert sorted(points) == sorted(wanted)
    assert list(tmp_path.iterdir()) == [path]


class Overtaken(FakeTimer):
    """While it times its first batch, another profile measures the last two settings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.other = path, FakeTimer()

    def _time(self, probes: list[Probe]) -> ProbeTimes:
        if not self.batches:
            measure(make_probes(SETTINGS[4:]), self.path, self.other)
        return super()._time(probes)


def test_what_another_profile_has_measured_meanwhile_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    timer = Overtaken(path)
    table = measure(make_probes(SETTINGS), path, timer)
    assert {probe.setting for batch in timer.other.batches for probe in batch} == set(SETTINGS[4:])
    assert {probe.setting for batch in timer.batches for probe in batch} == set(SETTINGS[:4])
    assert len(table.points) == len(make_probes(SETTINGS))


def test_batches_are_bounded_and_keep_the_order() -> None:
    large = LayerSetting(kind="conv", in_channels=64, out_channels=64, size=(320, 320))
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


def test_a_target_of_another_machine_and_an_output_that_cannot_be_written_are_refused_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"target: got aarch64: .*measure it on a device of that kind"):
        LocalTimer(target="aarch64")
    timer, model = FakeTimer(), save(residual_network(scheme="dense"), tmp_path / "m.onnx")
    with pytest.raises(UserError, match="output: cannot write"):
        profile_models([model], model / "latency.json", timer=timer)
    assert timer.batches == []


def test_a_table_of_before_may_be_added_to_whatever_measured_it(tmp_path: Path) -> None:
    path, versioned = tmp_path / "latency.json", MACHINE.model_copy(update={"prunemap": "2"})
    measure(make_probes(SETTINGS[:1]), path, FakeTimer())
    assert '"prunemap"' not in path.read_text()
    measure(make_probes(SETTINGS[1:2]), path, FakeTimer(fingerprint=versioned))
    measure(make_probes(SETTINGS[:1]), tmp_path / "new.json", FakeTimer(fingerprint=versioned))
    newer = FakeTimer(fingerprint=MACHINE.model_copy(update={"prunemap": "3"}))
    with pytest.raises(UserError, match="prunemap: '2', here '3'"):
        measure(make_probes(SETTINGS[1:2]), tmp_path / "new.json", newer)


def test_infinite_times_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    measure(make_probes(SETTINGS[:1]), path, FakeTimer())
    path.write_text(re.sub(r'"median_us": [0-9.e-]+', '"median_us": "Infinity"', path.read_text(), count=1))
    with pytest.raises(UserError, match="finite number"):
        measure(make_probes(SETTINGS[:1]), path, FakeTimer())


@pytest.mark.parametrize("error", [0.02, np.nan])
def test_a_wrong_output_is_refused(error: float) -> None:
    case = LayerCase(SETTINGS[0], Probe(SETTINGS[0], SchemeSpec("filter"), 0.5).weight())
    check_errors([case], np.array([2.0]), [[0.0, 1e-4]])
    with pytest.raises(InternalError, match=r"8→8 at 8x8 with density 0\.5 is wrong"):
        check_errors([case], np.array([2.0]), [[0.0, error]])


def test_the_fastest_variant_of_each_case_is_found_as_tuning_would() -> None:
    seconds = np.array([[3, 1, 2, 5, 4, 9], [3, 1, 2, 5, 4, 1], [3, 9, 2, 5, 4, 9]], float)
    assert fastest(seconds, [3, 1, 2]) == [1, 3, 4]
    assert fastest(np.array([[1.0, 0.98, 1.0, 0.96]]), [2, 2]) == [0, 3]


def test_all_steps_of_a_layer_are_its_time() -> None:
    seconds = np.array([[1, 2, 4, 8, 16], [10, 20, 40, 80, 160]], float)
    assert sums_of(seconds, {1: [0, 3], 0: [2]}).tolist() == [[4, 9], [40, 90]]
