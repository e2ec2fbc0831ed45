"""Tuning by measurement: the network itself is the benchmark.

Variant k of a program runs every layer with its k-th tile. The variants are timed in turns, slot by slot, so that each
tile is measured where it will run: between its neighbours, with their traffic in the caches. A layer leaves the model's
choice only for a tile that is faster by a margin in both halves of the rounds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.lowering.select import TileChoice
from prunemap.core.cache import keep, read_kept
from prunemap.runtime import Engine, Program, check_thread_count, random_inputs
from prunemap.targets.cpu import cpu_name

MARGIN = 0.03
ROUNDS_PER_HALF = 5
SECONDS_PER_ROUND = 1.5
"""A round of all variants takes at least one run of each, and no more than fit in so long."""

Candidates = Mapping[str, Sequence[TileChoice]]
"""The tiles that could run each node, the model's choice first."""


class Build(Protocol):
    """Compiles the program with given tiles."""

    def __call__(self, *, tiles: Mapping[str, TileChoice]) -> Program: ...


Timer = Callable[[Sequence[Program]], NDArray[np.float64]]
"""Times the slots of programs in turns; returns seconds, (2 · rounds, programs, slots)."""


def time_locally(programs: Sequence[Program], threads: int = 1) -> NDArray[np.float64]:
    """Time the programs on this machine."""
    engines = [Engine(program, threads) for program in programs]
    inputs = random_inputs(engines[0].inputs)
    try:
        once = sum(float(engine.time_runs(inputs, 2).min()) for engine in engines)
        runs = int(np.clip(SECONDS_PER_ROUND / ROUNDS_PER_HALF / once, 1, 20))
        rounds = [
            np.stack([engine.time_slots(inputs, runs).min(0) for engine in engines]) for _ in range(2 * ROUNDS_PER_HALF)
        ]
    finally:
        for engine in engines:
            engine.close()
    return np.stack(rounds)


def choose_tiles(candidates: Candidates, build: Build, timer: Timer) -> dict[str, TileChoice]:
    """Return the tile for every node that has candidates.

    Args:
        timer: what times the programs.
    """
    variants = max((len(tiles) for tiles in candidates.values()), default=0)
    programs = [build(tiles={n: tiles[k % len(tiles)] for n, tiles in candidates.items()}) for k in range(variants)]
    if len(programs) < 2:
        return {node: tiles[0] for node, tiles in candidates.items()}
    seconds = timer(programs)
    slots = programs[0].manifest.slots
    return {node: tiles[_best(seconds[:, : len(tiles), slots.index(node)])] for node, tiles in candidates.items()}


def _best(seconds: NDArray[np.float64]) -> int:
    """Return which tile to use; seconds: (2 · rounds, tiles)."""
    first, second = (half.min(0) for half in np.split(seconds, 2))
    wins = (first < (1 - MARGIN) * first[0]) & (second < (1 - MARGIN) * second[0])
    if not wins.any():
        return 0
    return int(np.argmin(np.where(wins, first + second, np.inf)))


@dataclass(frozen=True)
class Tuning:
    """How tiles are chosen by measuring on this machine; the choices are kept per network, CPU and compiler."""

    threads: int = 1
    again: bool = False
    """Measure even if the choices are known."""

    def __post_init__(self) -> None:
        check_thread_count(self.threads)

    def choose(
        self, key: tuple[object, ...], candidates: Callable[[], Candidates], build: Build
    ) -> dict[str, TileChoice]:
        """Return the tile for every node.

        Args:
            key: everything that the choices depend on, but for the CPU and the threads.
            candidates: lists them; asked only where the choices are not known.
            build: see :func:`choose_tiles`.
        """
        digest = hashlib.sha256(repr((cpu_name(), self.threads, *key)).encode()).hexdigest()
        file = f"{digest}.json"
        known = None if self.again else _parsed(read_kept("tune", file) or b"")
        if known is None:
            known = choose_tiles(candidates(), build, partial(time_locally, threads=self.threads))
            keep("tune", file, json.dumps({node: asdict(choice) for node, choice in known.items()}).encode())
        return known


DEFAULT_TUNING = Tuning()


def _parsed(kept: bytes) -> dict[str, TileChoice] | None:
    """Return kept choices, None if there are none that can be read."""
    try:
        raw = json.loads(kept)
        return {node: TileChoice(**choice) for node, choice in raw.items()}
    except (ValueError, TypeError, AttributeError):
        return None
