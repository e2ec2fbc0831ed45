"""DeviceTimer: the latency table of a device, layers compiled here with all their tiles and timed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from prunemap.compiler import LayerCase, compile_model
from prunemap.compiler.build import find_compiler
from prunemap.core.latency_table import Machine
from prunemap.devices import PlacedProgram, Session, opened
from prunemap.errors import InternalError
from prunemap.exporting import read_raw, write_raw
from prunemap.latency import NetworkSeconds, Probe, ProbeTimes, compile_anchor
from prunemap.latency.local_timer import NETWORK_SECONDS
from prunemap.latency.time_cases import MAX_RUNS, MIN_RUNS, TIMED_SECONDS, prepare_cases
from prunemap.latency.turns import Turn
from prunemap.on_device.bench import WEB_WARM_UP_RUNS, check_not_emulated
from prunemap.on_device.place import Place
from prunemap.runtime import Program

TURNS = 4
"""How often the anchor and a program take turns; each is started anew."""
ANCHOR_RUNS = 8
"""In every turn."""
NETWORK_RUNS = 8, 200
"""The fewest and the most of a network, in all turns."""
_INPUTS, _OUTPUTS = "inputs.bin", "outputs.bin"


@dataclass(frozen=True)
class DeviceTimer:
    """Times probes and networks on a device; what was measured before it is lost is in the table.

    Raises:
        UserError: the device emulates.
    """

    place: Place
    cc: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_not_emulated(self.place)

    @property
    def threads(self) -> int:
        """Of every measurement."""
        return self.place.threads

    def machine(self) -> Machine:
        """Return the fingerprint of the device, with target and compiler."""
        return self.place.facts.machine(self.place.target.name, find_compiler(self.cc).version)

    def prepare(self, probes: Sequence[Probe]) -> Callable[[], ProbeTimes]:
        """Compile every probe with all of its tiles; it is timed with the fastest on the device."""
        cases = [LayerCase(probe.setting, probe.weight(self.seed)) for probe in probes]
        prepared = prepare_cases(cases, target=self.place.target.name, cc=self.cc, seed=self.seed)
        files = self.place.files(prepared.program, "layers", cc=self.cc)
        ends = prepared.program.manifest

        def timed() -> ProbeTimes:
            with TemporaryDirectory(prefix="prunemap-") as folder, opened(self.place.device) as session:
                given, made = Path(folder) / _INPUTS, Path(folder) / _OUTPUTS
                write_raw(given, ends.inputs, prepared.inputs)
                layers, anchor = self._sent(session, files)
                session.push(given, _INPUTS)
                layers.run("--inputs", _INPUTS, "--outputs", _OUTPUTS, "--runs", 0, "--warmup", 0)
                session.pull(_OUTPUTS, made)
                try:
                    prepared.check(read_raw(made, ends.outputs))
                except InternalError as error:
                    raise InternalError(f"on {self.place.device.name}: {error}") from None
                fed = ("--inputs", _INPUTS)
                turns = _in_turns(layers, anchor, prepared.program, fed, TIMED_SECONDS, (MIN_RUNS, MAX_RUNS))
            times = prepared.times_of(turns)
            return ProbeTimes(times.seconds, times.anchor_seconds)

        return timed

    def time_network(self, model: str | Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> NetworkSeconds:
        """Compile a network and time it there slot by slot in turns with the anchor."""
        target = self.place.target.name
        program = compile_model(model, target=target, shapes=shapes, cc=self.cc, tune=self.place.tuning)
        files = self.place.files(program, "layers", cc=self.cc)
        with opened(self.place.device) as session:
            layers, anchor = self._sent(session, files)
            turns = _in_turns(layers, anchor, program, (), NETWORK_SECONDS, NETWORK_RUNS)
        return NetworkSeconds.of(program.manifest.slots, turns)

    def _sent(self, session: Session, files: Mapping[str, bytes]) -> tuple[PlacedProgram, PlacedProgram]:
        """Send a program and the anchor."""
        return self.place.send_files(session, files, "layers"), self.place.send_files(session, self._anchor, "anchor")

    @cached_property
    def _anchor(self) -> Mapping[str, bytes]:
        """The program of the anchor, which is the same for every measurement."""
        return self.place.files(compile_anchor(self.place.target.name, self.cc), "anchor", cc=self.cc)


def _in_turns(
    layers: PlacedProgram,
    anchor: PlacedProgram,
    program: Program,
    fed: Sequence[object],
    seconds: float,
    allowed: tuple[int, int],
) -> list[Turn]:
    """Time a program slot by slot in turns with the anchor.

    Args:
        fed: options that say what the program reads.
        seconds: of all runs together.
        allowed: the fewest and the most runs of all turns.
    """
    slots = len(program.manifest.slots)
    once = float(layers.time_slots(slots, 2, *fed).sum(axis=1).min())
    runs = -(-int(np.clip(seconds / max(once, 1e-9), *allowed)) // TURNS)
    warm_up = WEB_WARM_UP_RUNS if layers.session.device.engine else 1
    turns = []
    for _ in range(TURNS):
        anchors = anchor.run("--runs", ANCHOR_RUNS, "--warmup", warm_up, "--no-layers", "--no-check").run_us
        turns.append(Turn(np.array(anchors) / 1e6, layers.time_slots(slots, runs, "--warmup", warm_up, *fed)))
    return turns
