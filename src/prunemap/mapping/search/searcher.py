"""Searcher: proposes candidates and learns from what they were worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Scored
from prunemap.mapping.search.problem import Candidate, Problem

Probabilities = tuple[tuple[float, ...], ...]
"""Of every action of every decision."""


class Searcher(Protocol):
    """Proposes candidates; what it proposes follows from its seed and from what it was told, in order."""

    def ask(self) -> Candidate:
        """Return a canonical candidate; several may be asked for before the first is told."""

    def tell(self, candidate: Candidate, scored: Scored) -> None:
        """Learn what a candidate that was asked for is worth."""

    def learnt(self) -> Probabilities | None:
        """Return the probability of every action by now; None for a searcher that has none."""


@dataclass(frozen=True)
class SearcherEntry:
    """A row of SEARCHERS."""

    name: str
    make: Callable[[Problem, SearchConfig], Searcher]
    """Raises UserError where what it needs is not installed."""
