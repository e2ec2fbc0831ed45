"""bench on a device: a network checked there, then timed beside itself dense, in rounds that the device runs alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from prunemap.benchmarking import Effort, EngineResult
from prunemap.benchmarking.benchmark import OURS, find_source
from prunemap.compiler import compile_model
from prunemap.compiler.fake_sparsity import FakedLayer, parse_sparsity, with_fake_sparsity
from prunemap.core.files import existing_file
from prunemap.core.plan import Plan
from prunemap.core.value import Value, now
from prunemap.devices import (
    DeviceError,
    DeviceLostError,
    Facts,
    PlacedProgram,
    ProgramReport,
    Reading,
    Session,
    opened,
    parse_report,
)
from prunemap.devices.facts import READING, parse_reading
from prunemap.devices.program import ProgramCheck, SlotMedian
from prunemap.errors import UserError
from prunemap.exporting.reference import make_reference
from prunemap.on_device.place import Place
from prunemap.runtime import Program, read_program

DENSE = "dense"
WARM_UP_RUNS, WEB_WARM_UP_RUNS = 2, 30
"""Of every process; a WebAssembly engine compiles functions better after they ran some times."""
LAYER_RUNS = 30
FIRST_RUNS = 5
"""That say how long a run takes."""


class DeviceBenchResult(Value):
    """What a network takes on a device, with everything that is needed to take it again."""

    model: str
    device: str
    facts: Facts
    target: str
    compiler: str
    tuned: bool
    """Whether tiles were chosen by measuring."""
    threads: int
    pinned_cpus: tuple[int, ...]
    """Empty where the device cannot pin."""
    check: ProgramCheck
    reference: str
    results: tuple[EngineResult, ...]
    """Of prunemap, and of the same network with structure detection off."""
    ratios: dict[str, float]
    rounds: int
    layers: tuple[SlotMedian, ...] = ()
    before: Reading
    after: Reading
    faked: tuple[FakedLayer, ...] = ()
    size_bytes: int
    """Of the program that was sent."""
    command: str = ""
    date: str = ""
    lost: str = ""
    """Why not all rounds were run; "" = they were."""


@dataclass(frozen=True)
class DeviceBench:
    """A network that is to be timed on a device; compiled here."""

    name: str
    program: Program
    onnx: Path
    """For the reference; the one that was compiled."""
    given: Path
    """What the dense program is made of."""
    shapes: Mapping[str, tuple[int, ...]] | None = None
    cc: str | None = None
    faked: tuple[FakedLayer, ...] = ()

    @classmethod
    @contextmanager
    def open(
        cls,
        model: Path,
        place: Place,
        *,
        sparsity: str | None = None,
        reference: Path | None = None,
        plan: Plan | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        cc: str | None = None,
    ) -> Iterator[DeviceBench]:
        """Compile a model for a place, or read a ``.pmap``.

        Args:
            sparsity: prune a dense model by magnitude first: SCHEME@DENSITY.
            reference: ONNX file of a ``.pmap``; None = the one that its manifest names.

        Raises:
            UserError: it cannot be read, compiled, or run there.
        """
        path = existing_file(model, "model")
        if path.suffix == ".pmap":
            if sparsity or plan:
                raise UserError("--sparsity, --plan: they take an ONNX model, no .pmap")
            program = place.check(read_program(path))
            shapes = {info.name: info.shape for info in program.manifest.inputs}
            source = find_source(program, path, reference)
            yield cls(str(model), program, source, source, shapes, cc)
            return
        with TemporaryDirectory(prefix="prunemap-") as folder:
            faked: tuple[FakedLayer, ...] = ()
            onnx = path
            if sparsity:
                onnx = Path(folder) / path.name
                faked = with_fake_sparsity(path, *parse_sparsity(sparsity), onnx, shapes)
            target, tuning = place.target.name, place.tuning
            program = compile_model(onnx, plan=plan, target=target, shapes=shapes, cc=cc, tune=tuning)
            yield cls(str(model), program, onnx, path, shapes, cc, faked)

    def dense(self, place: Place) -> Program:
        """Compile the same network with structure detection off."""
        manifest = self.program.manifest
        tuning = place.tuning if manifest.tuned else None
        return compile_model(
            self.given, target=manifest.target, shapes=self.shapes, cc=self.cc, detect=False, tune=tuning
        )


@dataclass
class _Rounds:
    """What was measured so far: per program, the times of every round in µs."""

    names: list[str]
    of: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    def complete(self) -> int:
        """Return how many rounds all programs have run."""
        return min(len(self.of.get(name, ())) for name in self.names)

    def medians_us(self) -> dict[str, NDArray[np.float64]]:
        """Return the median of every complete round."""
        return {name: np.array([np.median(each) for each in of[: self.complete()]]) for name, of in self.of.items()}


def check_not_emulated(place: Place) -> None:
    """Raise UserError for a device whose times say nothing."""
    if place.facts.emulated:
        name = place.device.name
        raise UserError(f"device {name}: an emulator's times say nothing; check outputs there: verify --device {name}")


def bench_on_device(
    bench: DeviceBench,
    place: Place,
    *,
    dense: bool = True,
    effort: Effort | None = None,
    per_layer: bool = False,
    command: str = "",
) -> DeviceBenchResult:
    """Check the network on the device, then time it there.

    A device that is lost in the middle leaves the rounds that were finished, and says so in ``lost``.

    Args:
        dense: time the same network with structure detection off, too.
        effort: None = at least 30 rounds and 5 seconds.

    Raises:
        UserError: the device emulates.
        DeviceError: it cannot be used, or is lost before a round is finished.
    """
    check_not_emulated(place)
    effort, reference = effort or Effort(), make_reference(bench.program, bench.onnx)
    with opened(place.device) as session:
        placed = {OURS: place.send(session, bench.program, "model", reference, bench.cc)}
        if dense:
            placed[DENSE] = place.send(session, bench.dense(place), DENSE, cc=bench.cc)
        first = placed[OURS].run("--runs", FIRST_RUNS, *(() if per_layer else ("--no-layers",)))
        before = read_now(session)
        rounds, lost = _run_rounds(session, placed, effort, float(np.median(first.run_us)) / 1e6)
        layers, after = first.slots, before
        if not lost:
            after = read_now(session)
            layers = placed[OURS].run("--runs", LAYER_RUNS, "--no-check").slots if per_layer else ()
    medians = rounds.medians_us()
    return DeviceBenchResult(
        model=bench.name,
        device=place.device.name,
        facts=place.facts,
        target=first.target,
        compiler=bench.program.manifest.compiler,
        tuned=bench.program.manifest.tuned,
        threads=place.threads,
        pinned_cpus=place.cpus,
        check=checked(first),
        reference=reference.made_by,
        results=tuple(_result(name, medians[name], rounds.of[name]) for name in rounds.names),
        ratios={name: float(np.median(each / medians[OURS])) for name, each in medians.items() if name != OURS},
        rounds=rounds.complete(),
        layers=layers,
        before=before,
        after=after,
        faked=bench.faked,
        size_bytes=placed[OURS].size_bytes,
        command=command,
        date=now(),
        lost=lost,
    )


def checked(report: ProgramReport) -> ProgramCheck:
    """Return the check in the report of a program that has a reference."""
    assert report.check is not None
    return report.check


def read_now(session: Session) -> Reading:
    """Return temperature and frequencies of a device."""
    return parse_reading(session.device.shell(READING).out)


def _run_rounds(
    session: Session, placed: Mapping[str, PlacedProgram], effort: Effort, once_s: float
) -> tuple[_Rounds, str]:
    """Run the programs in turns, A B B A; returns what was measured, and why it broke off.

    Raises:
        DeviceError: before a round was finished.
    """
    runs = max(1, ceil(effort.seconds / (effort.rounds * len(placed) * max(once_s, 1e-7))))
    order = [*placed, *reversed([*placed])]
    warm_up = WEB_WARM_UP_RUNS if session.device.engine else WARM_UP_RUNS
    timed = ("--runs", runs, "--warmup", warm_up, "--no-check", "--no-layers")
    body = "; ".join(f"{{ {session.one(placed[name].command(*timed))}; }} || exit $?" for name in order)
    script = f"i=0; while [ $i -lt {ceil(effort.rounds / 2)} ]; do {body}; i=$((i+1)); done"
    rounds, names = _Rounds(list(placed)), cycle(order)
    try:
        for line in session.lines(script):
            report = parse_report(line)
            if report is not None:
                rounds.of.setdefault(next(names), []).append(report.run_us)
    except DeviceLostError as error:
        if not rounds.complete():
            raise
        return rounds, str(error)
    if not rounds.complete():
        raise DeviceError(f"device {session.device.name}: no times came; see it run: prunemap device check")
    return rounds, ""


def _result(name: str, us: NDArray[np.float64], runs: list[tuple[float, ...]]) -> EngineResult:
    p10, median, p90 = np.percentile(us / 1e3, (10, 50, 90)).tolist()
    return EngineResult(engine=name, median_ms=median, p10_ms=p10, p90_ms=p90, runs=sum(map(len, runs)))
