"""LocalTimer: probes and networks on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from prunemap.compiler import LayerCase, Tuning, compile_model
from prunemap.compiler.build import find_compiler
from prunemap.core.latency_table import Machine
from prunemap.devices import check_threads, pinned, read_machine
from prunemap.errors import UserError
from prunemap.latency.anchor import compile_anchor
from prunemap.latency.measure import NetworkSeconds, ProbeTimes
from prunemap.latency.probe import LARGE_WEIGHTS, Probe
from prunemap.latency.time_cases import ANCHOR_RUNS, TURNS, prepare_cases
from prunemap.latency.turns import Turn
from prunemap.runtime import Engine, random_inputs
from prunemap.targets import resolve_target, why_not_here

NETWORK_SECONDS = 4.0
MIN_NETWORK_RUNS, MAX_NETWORK_RUNS = 2, 50
"""In every turn."""


def case_of(probe: Probe, seed: int = 0) -> LayerCase:
    """Return what is compiled of a probe. To find the structure of a very large weight would take half a minute."""
    is_large = prod(probe.setting.weight_shape) > LARGE_WEIGHTS
    return LayerCase(probe.setting, probe.weight(seed), scheme=probe.scheme if is_large else None)


@dataclass(frozen=True)
class LocalTimer:
    """Times probes on this machine, on the first ``threads`` CPUs that the process may use.

    Raises:
        UserError: there are not so many, or the target does not run here.
    """

    threads: int = 1
    target: str = "native"
    cc: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)
        why = why_not_here(resolve_target(self.target))
        if why:
            raise UserError(f"target: got {self.target}: {why}; measure it on a device of that kind (--device)")

    def machine(self) -> Machine:
        """Return the fingerprint of this machine, with target and compiler."""
        return read_machine(resolve_target(self.target).name, find_compiler(self.cc).version)

    def prepare(self, probes: Sequence[Probe]) -> Callable[[], ProbeTimes]:
        """Compile every probe with all of its tiles; it is timed with the fastest, as tuning would choose it."""
        cases = [case_of(probe, self.seed) for probe in probes]
        prepared = prepare_cases(cases, target=self.target, cc=self.cc, seed=self.seed)

        def timed() -> ProbeTimes:
            times = prepared.time(self.threads)
            return ProbeTimes(times.seconds, times.anchor_seconds)

        return timed

    def time_network(self, model: str | Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> NetworkSeconds:
        """Compile a network, its tiles tuned, and time it slot by slot in turns with the anchor."""
        program = compile_model(model, target=self.target, shapes=shapes, cc=self.cc, tune=Tuning(self.threads))
        inputs = random_inputs(program.manifest.inputs, self.seed)
        with (
            pinned(self.threads),
            Engine(program, self.threads) as engine,
            Engine(compile_anchor(self.target, self.cc), self.threads) as anchor,
        ):
            fixed = random_inputs(anchor.inputs)
            anchor.time_runs(fixed, 1)
            once = float(engine.time_runs(inputs, 2).min())
            runs = int(np.clip(NETWORK_SECONDS / TURNS / once, MIN_NETWORK_RUNS, MAX_NETWORK_RUNS))
            turns = [Turn(anchor.time_runs(fixed, ANCHOR_RUNS), engine.time_slots(inputs, runs)) for _ in range(TURNS)]
        return NetworkSeconds.of(program.manifest.slots, turns)
