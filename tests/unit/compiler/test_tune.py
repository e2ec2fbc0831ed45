"""Tuning leaves the model's choice only for what is faster twice, by a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prunemap.compiler.lowering.select import TileChoice
from prunemap.compiler.tune import MARGIN, choose_tiles

TILES = (TileChoice(8, 3), TileChoice(4, 6), TileChoice(2, 8))


def choose(first: Sequence[float], second: Sequence[float]) -> int:
    """Return the chosen tile of a layer whose tiles take so long in the first and the second half of the rounds."""
    built: list[TileChoice] = []

    def build(*, tiles: Mapping[str, TileChoice]) -> Any:
        built.append(tiles["layer"])
        return SimpleNamespace(manifest=SimpleNamespace(slots=("other", "layer")))

    def timer(programs: Sequence[Any]) -> np.ndarray:
        times = np.array([first, second]).repeat(3, axis=0)  # (rounds, tiles)
        noise = np.array([1.0, 1.5, 1.2])[np.arange(6) % 3]  # the minimum of each half is free of it
        return np.stack([np.ones_like(times), times * noise[:, None]], axis=2)

    chosen = choose_tiles({"layer": TILES}, build, timer)["layer"]
    assert built == list(TILES)
    return TILES.index(chosen)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((10, 9, 12), (10, 9, 12), 1),
        ((10, 9, 8), (10, 9, 8), 2),
        ((10, 12, 11), (10, 12, 11), 0),
        ((10, 5, 12), (10, 11, 12), 0),  # faster once is luck
        ((10, 10 * (1 - MARGIN / 2), 12), (10, 10 * (1 - MARGIN / 2), 12), 0),  # within the margin
    ],
)
def test_the_choice(first: Sequence[float], second: Sequence[float], expected: int) -> None:
    assert choose(first, second) == expected


def test_a_network_without_layers_needs_no_timing() -> None:
    def fail(*args: object, **options: object) -> Any:
        pytest.fail("built or timed")

    assert choose_tiles({}, fail, fail) == {}
