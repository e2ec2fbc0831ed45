"""Times layers on this machine, each with the fastest of the tiles that can run it.

The time of a layer is the sum of all the steps that it became. The anchor, one fixed layer, is timed in between: what
it takes says how fast the machine was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler import LayerCase, case_slots, compile_embedded, interpret_layers, tile_variants
from prunemap.compiler.tune import MARGIN
from prunemap.devices import pinned
from prunemap.errors import InternalError
from prunemap.latency.anchor import compile_anchor
from prunemap.latency.turns import Turn, at_one_speed
from prunemap.runtime import Engine, Program, random_inputs
from prunemap.targets import NATIVE

MIN_RUNS, MAX_RUNS = 8, 200
TIMED_SECONDS = 0.5
TURNS = 16
"""How often the anchor and the cases take turns, at most: in every turn the cases run once or more."""
ANCHOR_RUNS = 4
"""In every turn."""
TOLERANCE = 1e-4
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class CaseTimes:
    """What was measured of layer cases."""

    seconds: NDArray[np.float64]
    """(runs, cases), all brought to one speed of the machine; the runs of different cases are interleaved."""
    kernels: tuple[str, ...]
    """What ran each case."""
    anchor_seconds: NDArray[np.float64]
    """(turns,) of the anchor, at the same speed."""


@dataclass(frozen=True, eq=False)
class PreparedCases:
    """Layer cases that are compiled with all their tiles into one program, and what they must compute."""

    variants: list[list[LayerCase]]
    program: Program
    anchor: Program
    inputs: dict[str, NDArray[np.float32]]
    largest: NDArray[np.float64]
    """Magnitude of each case's output, (cases,)."""

    def time(self, threads: int = 1, timed_seconds: float = TIMED_SECONDS) -> CaseTimes:
        """Check what the cases compute, and time them step by step on this machine.

        Raises:
            InternalError: a layer computes something wrong.
        """
        with pinned(threads), Engine(self.program, threads) as engine, Engine(self.anchor, threads) as anchor:
            self.check(engine.run(self.inputs))
            once = float(engine.time_slots(self.inputs, 1).sum())
            runs = int(np.clip(timed_seconds / once, MIN_RUNS, MAX_RUNS))
            in_turn = -(-runs // TURNS)
            fixed = random_inputs(anchor.inputs)
            anchor.time_runs(fixed, 1)
            turns = [
                Turn(anchor.time_runs(fixed, ANCHOR_RUNS), engine.time_slots(self.inputs, in_turn))
                for _ in range(min(TURNS, runs))
            ]
        return self.times_of(turns)

    def check(self, outputs: Sequence[NDArray[np.float32]]) -> None:
        """Check the outputs that the program has for ``inputs``, wherever it ran.

        Raises:
            InternalError: a layer computes something wrong.
        """
        errors = [float(error.max()) for error in outputs[: sum(self._sizes)]]
        check_errors([of_case[0] for of_case in self.variants], self.largest, _by_case(errors, self._sizes))

    def times_of(self, turns: Sequence[Turn]) -> CaseTimes:
        """Return the times of the cases, wherever they were taken.

        The tile of a case is chosen on every other run, its time taken from the runs between.

        Args:
            turns: of the program's slots.
        """
        slots = case_slots(self.program.manifest.slots)
        by_tile = [Turn(turn.anchor, sums_of(turn.steps, slots)) for turn in turns]
        seconds, anchors = at_one_speed(by_tile, _by_case(range(len(slots)), self._sizes))
        layers = self.program.manifest.layers
        by_case = case_slots([choice.node for choice in layers])
        best = fastest(seconds[::2], self._sizes)
        kernels = tuple(layers[by_case[i][0]].kernel for i in best)
        return CaseTimes(seconds[1::2, best], kernels, anchors)

    @property
    def _sizes(self) -> list[int]:
        return [len(of_case) for of_case in self.variants]


def prepare_cases(
    cases: Sequence[LayerCase], *, target: str = NATIVE, cc: str | None = None, seed: int = 0
) -> PreparedCases:
    """Compile the cases with all their tiles into one program, each as it stands in a network."""
    variants = tile_variants(cases, target)
    program = compile_embedded(variants, target=target, cc=cc)
    inputs = random_inputs(program.manifest.inputs, seed)
    fed = {name: np.maximum(values, 0) for name, values in inputs.items() if name.startswith("x")}
    rights = interpret_layers(cases, fed)
    inputs |= {f"right{i}": right for i, right in enumerate(rights)}
    largest = np.array([float(np.abs(right).max()) or 1.0 for right in rights])
    return PreparedCases(variants, program, compile_anchor(target, cc), inputs, largest)


def sums_of(seconds: NDArray[np.float64], slots: Mapping[int, Sequence[int]]) -> NDArray[np.float64]:
    """Return what each case took in all of its steps, (runs, cases).

    Args:
        seconds: (runs, slots).
        slots: which are those of each case.
    """
    return np.stack([seconds[:, slots[case]].sum(axis=1) for case in sorted(slots)], axis=1)


def fastest(seconds: NDArray[np.float64], sizes: Sequence[int]) -> list[int]:
    """Return which column is the fastest variant of each case, by the median; the first unless it loses by a margin.

    So does tuning choose, too.

    Args:
        seconds: (runs, variants of all cases).
        sizes: how many variants each case has.
    """
    medians = np.median(seconds, axis=0).tolist()
    found = []
    for columns in _by_case(range(len(medians)), sizes):
        best = min(columns, key=medians.__getitem__)
        found.append(best if medians[best] < (1 - MARGIN) * medians[columns[0]] else columns[0])
    return found


def _by_case(values: Sequence[T], sizes: Sequence[int]) -> list[Sequence[T]]:
    ends = np.cumsum(sizes).tolist()
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def check_errors(cases: Sequence[LayerCase], largest: NDArray[np.float64], errors: Sequence[Sequence[float]]) -> None:
    """Check how far every tile's output is from what the layer means.

    Args:
        largest: magnitude of each case's output.
        errors: of each case, whichever tiles made them: the largest difference.

    Raises:
        InternalError: one is more than ``TOLERANCE`` of its largest magnitude, or not a number.
    """
    for case, magnitude, of_case in zip(cases, largest.tolist(), errors, strict=True):
        error = float(np.max(of_case)) / magnitude
        if not error <= TOLERANCE:
            density = np.count_nonzero(case.weight) / case.weight.size
            raise InternalError(
                f"compiled layer {case.setting} with density {density:.3g} is wrong: relative error {error:.2g}; "
                "nothing was recorded"
            )
