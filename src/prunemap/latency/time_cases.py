"""Times layers on this machine, each with the fastest of the tiles that can run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler import LayerCase, compile_layers, tile_variants
from prunemap.devices import pinned
from prunemap.errors import InternalError
from prunemap.latency.reference import compute_layer
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
        check_outputs(cases, list(inputs.values()), _by_case(engine.run(inputs), sizes))
        once = float(engine.time_slots(inputs, 3)[1:].sum(axis=1).min())
        runs = int(np.clip(timed_seconds / once, MIN_RUNS, MAX_RUNS))
        seconds = engine.time_slots(inputs, runs)[:, : len(flat)]
    kernels = {choice.node: choice.kernel for choice in program.manifest.layers}
    best = fastest(seconds[::2], sizes)
    return CaseTimes(seconds[1::2, best], tuple(kernels[program.manifest.slots[i]] for i in best))


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
    cases: Sequence[LayerCase], inputs: Sequence[NDArray[np.float32]], outputs: Sequence[Sequence[NDArray[np.float32]]]
) -> None:
    """Compare every output with what the layer means.

    Args:
        inputs: one per distinct setting, in order of appearance.
        outputs: of each case, whichever tiles made them.

    Raises:
        InternalError: one differs by more than ``TOLERANCE`` of its largest magnitude.
    """
    by_setting = dict(zip(dict.fromkeys(case.setting for case in cases), inputs, strict=True))
    for case, found in zip(cases, outputs, strict=True):
        wanted = compute_layer(case.setting, case.weight, by_setting[case.setting])
        error = float(np.abs(np.stack(found) - wanted).max() / (np.abs(wanted).max() or 1.0))
        if not error <= TOLERANCE:
            density = np.count_nonzero(case.weight) / case.weight.size
            raise InternalError(
                f"compiled layer {case.setting} with density {density:.3g} is wrong: relative error {error:.2g}; "
                "nothing was recorded"
            )
