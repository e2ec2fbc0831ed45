"""Places tensors in one arena so that those alive at the same time do not overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT_FLOATS = 16


@dataclass(frozen=True)
class Life:
    """A tensor that is made at step ``first`` and last read at step ``last``; ``size`` in floats."""

    name: str
    size: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


def place(lives: Iterable[Life]) -> tuple[dict[str, int], int]:
    """Return every tensor's offset and the arena's size, in floats: largest first, at the lowest free place."""
    placed: list[tuple[int, int, Life]] = []
    for life in sorted(lives, key=lambda each: (-each.size, each.first, each.name)):
        at = 0
        for start, end, other in sorted(placed, key=lambda each: each[0]):
            if life.meets(other) and start < at + life.size and at < end:
                at = -(-end // ALIGNMENT_FLOATS) * ALIGNMENT_FLOATS
        placed.append((at, at + life.size, life))
    return {life.name: at for at, _, life in placed}, max((end for _, end, _ in placed), default=0)
