"""Which tiles can run a linear layer, best first by a model of the bytes and of the work per kept column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import MOST_PICKED, count_steps, group_rows
from prunemap.compiler.lowering.select import Candidate, TileChoice, fitted_vectors, worth_trying
from prunemap.core.target import Target

HEIGHTS = (64, 32, 16, 8, 4)
_SPARE_REGISTERS = 4
"""For weights and inputs, beside the sums."""
_BYTES_PER_NS = ((512 << 10, 120), (16 << 20, 64), (1 << 62, 25))
"""How fast weights of up to so many bytes are read: from L2, from the last-level cache, from memory."""
_PICK_NS, _PICK_ITEM_NS = 0.4, 0.8
"""What a step of pick lists takes, and for each item more."""
_LEAST_ZEROS = 0.1
"""Part of what row groups would store, from which masks are worth trying."""


def linear_candidates(kept: NDArray[np.bool_], items: int, target: Target, pitch: int) -> list[Candidate]:
    """Return the tiles that can run a linear layer, best first.

    Args:
        kept: which weights are stored, (O, columns).
        items: N.
        pitch: floats from one element of a vector to the next.
    """
    weights = int(np.count_nonzero(kept))
    candidates: list[Candidate] = []
    for height in (height for height in HEIGHTS if height <= (target.registers - _SPARE_REGISTERS) * target.lanes):
        grouping = group_rows(kept, height)
        candidates.append(Candidate(TileChoice(height), grouping))
        zeros = 1 - weights / max(1, grouping.units * height)
        if height in target.expands and zeros > _LEAST_ZEROS:
            candidates.append(Candidate(TileChoice(height, masked=True), grouping))
        if height in target.picks and zeros > _LEAST_ZEROS and pitch == 1 and kept.shape[1] <= MOST_PICKED:
            steps = replace(grouping, units=count_steps(kept, grouping))
            candidates.append(Candidate(TileChoice(height, pick=True), steps))
    return worth_trying(candidates, lambda each: _nanoseconds(each, weights, items, target))


def _nanoseconds(candidate: Candidate, weights: int, items: int, target: Target) -> float:
    """What the model says a layer takes: its work, or moving its weights, whichever is more."""
    choice, grouping = candidate.choice, candidate.grouping
    if choice.pick:
        stored_bytes = grouping.units * (5 * choice.filters + 2)
        step = target.pick_cost * (_PICK_NS + items * _PICK_ITEM_NS)
        return max(grouping.units * step, stored_bytes / _speed(stored_bytes))
    unit = (0.05 * choice.filters - 0.13 if choice.masked else 0.3) + items * (0.12 + 0.016 * choice.filters)
    unit *= target.expand_cost if choice.masked else 1
    stored = weights if choice.masked else grouping.units * choice.filters
    stored_bytes = 4 * stored + 2 * grouping.units
    return max(grouping.units * unit, stored_bytes / _speed(stored_bytes)) + 10 * len(grouping.groups)


def _speed(stored_bytes: int) -> float:
    return next(speed for most, speed in _BYTES_PER_NS if stored_bytes <= most)


def tile_items(choice: TileChoice, items: int, target: Target) -> int:
    """Return how many of N items share a loaded weight: as many as the registers hold sums for, even over the tiles."""
    vectors = max(1, choice.filters // target.lanes)
    return fitted_vectors(max(1, min(8, (target.registers - 8) // vectors)), items)
