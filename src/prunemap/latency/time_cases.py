"""Times layers on this machine, each with the fastest of the tiles that can run it.

The time of a layer is the sum of all the steps that it became.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler import LayerCase, case_slots, compile_layers, interpret_layers, tile_variants
from prunemap.devices import pinned
from prunemap.errors import InternalError
from prunemap.runtime import Engine, random_inputs
from prunemap.targets import NATIVE

MIN_RUNS, MAX_RUNS = 16, 200
TIMED_SECONDS = 0.5
TOLERANCE = 1e-4
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class CaseTimes:
    """What was measured of layer cases."""

    seconds: NDArray[np.float64]
    """(runs, cases); the runs of different cases are interleaved."""
    kernels: tuple[str, ...]
    """What ran each case."""


def time_cases(
    cases: Sequence[LayerCase],
    *,
    threads: int = 1,
    target: str = NATIVE,
    cc: str | None = None,
    seed: int = 0,
    timed_seconds: float = TIMED_SECONDS,
) -> CaseTimes:
    """Compile the cases with all their tiles into one program, check what it computes, and time it step by step.

    The tile of a case is chosen on every other run, its time taken from the runs between.

    Args:
        timed_seconds: about how long to measure.

    Raises:
        InternalError: a layer computes something wrong.
    """
    variants = tile_variants(cases, target)
    flat = [case for of_case in variants for case in of_case]
    program = compile_layers(flat, target=target, cc=cc)
    inputs = random_inputs(program.manifest.inputs, seed)
    sizes = [len(of_case) for of_case in variants]
    with pinned(threads), Engine(program, threads) as engine:
        check_outputs(cases, interpret_layers(cases, inputs), _by_case(engine.run(inputs), sizes))
        once = float(engine.time_slots(inputs, 3)[1:].sum(axis=1).min())
        runs = int(np.clip(timed_seconds / once, MIN_RUNS, MAX_RUNS))
        slots = engine.time_slots(inputs, runs)
    seconds = sums_of(slots, case_slots(program.manifest.slots))
    kernels = [choice.kernel for choice in program.manifest.layers]
    by_case = case_slots([choice.node for choice in program.manifest.layers])
    best = fastest(seconds[::2], sizes)
    return CaseTimes(seconds[1::2, best], tuple(kernels[by_case[i][0]] for i in best))


def sums_of(seconds: NDArray[np.float64], slots: Mapping[int, Sequence[int]]) -> NDArray[np.float64]:
    """Return what each case took in all of its steps, (runs, cases).

    Args:
        seconds: (runs, slots).
        slots: which are those of each case.
    """
    return np.stack([seconds[:, slots[case]].sum(axis=1) for case in sorted(slots)], axis=1)


def fastest(seconds: NDArray[np.float64], sizes: Sequence[int]) -> list[int]:
    """Return which column is the fastest variant of each case, by the median.

    Args:
        seconds: (runs, variants of all cases).
        sizes: how many variants each case has.
    """
    medians = np.median(seconds, axis=0).tolist()
    return [min(columns, key=medians.__getitem__) for columns in _by_case(range(len(medians)), sizes)]


def _by_case(values: Sequence[T], sizes: Sequence[int]) -> list[Sequence[T]]:
    ends = np.cumsum(sizes).tolist()
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def check_outputs(
    cases: Sequence[LayerCase], wanted: Sequence[NDArray[np.float32]], outputs: Sequence[Sequence[NDArray[np.float32]]]
) -> None:
    """Compare every output with what the layer means.

    Args:
        wanted: of each case.
        outputs: of each case, whichever tiles made them.

    Raises:
        InternalError: one differs by more than ``TOLERANCE`` of its largest magnitude.
    """
    for case, right, found in zip(cases, wanted, outputs, strict=True):
        error = float(np.abs(np.stack(found) - right).max() / (np.abs(right).max() or 1.0))
        if not error <= TOLERANCE:
            density = np.count_nonzero(case.weight) / case.weight.size
            raise InternalError(
                f"compiled layer {case.setting} with density {density:.3g} is wrong: relative error {error:.2g}; "
                "nothing was recorded"
            )
