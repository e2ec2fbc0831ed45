"""Networks on devices, tried on this machine as a device: checked, timed, and lost in the middle."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from prunemap.benchmarking import Effort
from prunemap.benchmarking.verify import verify
from prunemap.compiler.build import Compiler
from prunemap.compiler.compile import compile_model
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.devices import DeviceError, DeviceLostError, Facts, parse_device
from prunemap.devices.connection import LocalConnection
from prunemap.devices.facts import READING
from prunemap.devices.session import Device
from prunemap.errors import UserError
from prunemap.exporting.exe import executable
from prunemap.exporting.reference import Reference
from prunemap.latency import Probe
from prunemap.on_device import (
    DeviceBench,
    DeviceEngine,
    DeviceRunner,
    DeviceTimer,
    Place,
    bench_on_device,
    check_device,
    choose_place,
    sustained_on_device,
)
from prunemap.report import device_bench_tables, device_check_tables, sustained_table
from prunemap.runtime import Program
from tests.networks import residual_network, save
from tests.unit.latency.fake_timer import SETTINGS

FEW = Effort(rounds=4, seconds=0.01)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(residual_network(scheme="unstructured"), tmp_path_factory.mktemp("device") / "net.onnx")


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """Keep every program that was built: the tests send the same few."""
    built: dict[object, bytes] = {}

    def build(program: Program, name: str, reference: Reference, compiler: Compiler, output: Path) -> None:
        key = program.source, name, reference
        if key not in built:
            executable(program, name, reference, compiler, output)
            built[key] = output.read_bytes()
        output.write_bytes(built[key])
        output.chmod(0o755)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prunemap.on_device.files.executable", build)
        yield


@pytest.fixture(scope="module")
def place() -> Place:
    return choose_place(parse_device("local"), tunes=False)


@pytest.fixture(scope="module")
def bench(model: Path, place: Place) -> Iterator[DeviceBench]:
    with DeviceBench.open(model, place) as bench:
        yield bench


@dataclass(frozen=True)
class Vanishing(LocalConnection):
    """A device that is gone after so many lines of a loop."""

    lines: int = 0

    def shell(self, script: str) -> list[str]:
        command = shlex.join(super().shell(script))
        is_loop = "while " in script
        return ["sh", "-c", f"{command} | head -n {self.lines}" if is_loop else command]


def vanishing(place: Place, lines: int) -> Place:
    return replace(place, device=Device("ssh:board", Vanishing(lines=lines)))


def test_bench_checks_and_times(bench: DeviceBench, place: Place) -> None:
    result = bench_on_device(bench, place, effort=FEW, per_layer=True)
    assert result.check.passed and result.check.max_relative_error < 1e-5
    assert [each.engine for each in result.results] == ["prunemap", "dense"] and not result.lost
    ours, dense = result.results
    assert result.rounds == 4 and ours.runs == dense.runs > 0 and 0 < ours.p10_ms <= ours.median_ms <= ours.p90_ms
    assert result.ratios["dense"] == pytest.approx(dense.median_ms / ours.median_ms, rel=0.5)
    assert tuple(each.name for each in result.layers) == bench.program.manifest.slots
    assert result.size_bytes > bench.program.weights_size
    assert all(device_bench_tables(result))


def test_a_device_that_vanishes_leaves_the_finished_rounds(bench: DeviceBench, place: Place) -> None:
    result = bench_on_device(bench, vanishing(place, 5), effort=FEW)
    assert result.rounds == 2 and "device ssh:board: the connection broke" in result.lost
    with pytest.raises(DeviceLostError, match="device ssh:board: the connection broke"):
        bench_on_device(bench, vanishing(place, 0), effort=FEW, dense=False)


def test_sustained_runs_window_by_window(bench: DeviceBench, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.on_device.sustained.LEAST_WINDOW_S", 0.02)
    monkeypatch.setattr("prunemap.on_device.sustained.MOST_WINDOWS", 10**6)
    held = sustained_on_device(bench, place, 1)
    assert held.check.passed and len(held.windows) >= 2 and held.windows[-1].at_s >= 1 > held.windows[-2].at_s
    assert all(window.frames_per_second > 0 and window.p50_ms <= window.p99_ms for window in held.windows)
    assert held.slowdown > 0 and sustained_table(held).row_count == len(held.windows)
    lines_of_a_window = 2 + len(place.device.shell(READING).out.splitlines())
    gone = sustained_on_device(bench, vanishing(place, lines_of_a_window), 600)
    assert len(gone.windows) == 1 and "the connection broke" in gone.lost
    with pytest.raises(DeviceLostError):
        sustained_on_device(bench, vanishing(place, 0), 600)
    for seconds in (0.01, 1e6, float("nan")):
        with pytest.raises(UserError, match=r"--sustained: got .* allowed are"):
            sustained_on_device(bench, place, seconds)


def test_verify_takes_an_engine_on_a_device(bench: DeviceBench, place: Place, model: Path) -> None:
    with DeviceEngine.open(place, bench.program) as engine:
        assert verify(engine, model).passed
        with pytest.raises(UserError, match="'x' has shape"):
            engine.run({"x": np.zeros((1, 3, 2, 2), np.float32)})


def test_programs_of_other_machines_are_not_sent(place: Place, model: Path) -> None:
    other = "aarch64" if place.facts.arch != "aarch64" else "x86-64-v3"
    program = compile_model(model, target=other, tune=None)
    message = f"a program for {other} cannot run there: .*compile it with --target {place.target.name}"
    with pytest.raises(UserError, match=message), DeviceEngine.open(place, program):
        pass
    with pytest.raises(UserError, match=f"--target {other} cannot run there: .*allowed is {place.target.name}"):
        choose_place(place.device, target=other)
    with pytest.raises(UserError, match=r"threads: got 5000"):
        choose_place(place.device, threads=5000)


def test_an_emulator_gives_no_times(bench: DeviceBench, place: Place, model: Path) -> None:
    emulated = replace(place, facts=place.facts.model_copy(update={"emulated": True}))
    for refused in (
        lambda: bench_on_device(bench, emulated),
        lambda: sustained_on_device(bench, emulated, 9),
        lambda: DeviceTimer(emulated),
        lambda: DeviceRunner(model, emulated),
    ):
        with pytest.raises(UserError, match="an emulator's times say nothing"):
            refused()


def test_probes_and_networks_are_timed(place: Place, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.on_device.timer.TIMED_SECONDS", 0.001)
    monkeypatch.setattr("prunemap.on_device.timer.NETWORK_SECONDS", 0.001)
    timer, probes = DeviceTimer(place), [Probe(SETTINGS[0], DENSE, 1.0)]
    times = timer.prepare(probes)()
    assert times.seconds.shape == (4, len(probes)) and times.seconds.min() > 0 and times.anchor_seconds.min() > 0
    timed = timer.time_network(model)
    assert timed.seconds.shape[1] == len(timed.slots) and timed.seconds.sum() > 0
    assert timer.machine() == place.facts.machine(place.target.name, timer.machine().compiler)


def test_a_runner_measures_plans(place: Place, model: Path) -> None:
    scheme = SchemeSpec.parse("filter")
    entry = PlanLayer(name="block.a", kind="conv", weight_shape=(8, 8, 3, 3), scheme=scheme, density=0.5)
    runner = DeviceRunner(model, place)
    assert runner.name == "local" and runner.latency_us(Plan(layers=(entry,))) > 0


def test_check_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    check = check_device("local")
    assert check.passed and [step.name for step in check.steps] == ["tool", "reach", "send and run", "clean up"]
    assert isinstance(check.facts, Facts) and len(device_check_tables(check)) == 2
    monkeypatch.setattr("prunemap.on_device.check.relative_error", lambda found, wanted: 0.1)
    wrong = check_device("local")
    assert not wrong.passed and "a small network is wrong there: relative error 0.1" in wrong.steps[-1].detail

    def refuses(device: Device, *_: object) -> None:
        raise DeviceError(f"device {device.name}: off; switch it on")

    monkeypatch.setattr("prunemap.on_device.check.choose_place", refuses)
    gone = check_device("local")
    assert [step.passed for step in gone.steps] == [True, False] and gone.facts is None
    assert len(device_check_tables(gone)) == 1
