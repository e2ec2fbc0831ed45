"""random: every action alike, without memory; the least that any other searcher must beat."""

from __future__ import annotations

import numpy as np

from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Scored
from prunemap.mapping.search.problem import Candidate, Problem
from prunemap.mapping.search.searcher import Probabilities


class RandomSearch:
    """Uniform over the actions of every decision, after the first candidate where there is one."""

    def __init__(self, problem: Problem, config: SearchConfig) -> None:
        self._problem, self._rng = problem, np.random.default_rng(config.seed)
        self._first = problem.first

    def ask(self) -> Candidate:
        first, self._first = self._first, None
        if first is not None:
            return first
        return self._problem.canonical(tuple(int(self._rng.integers(size)) for size in self._problem.sizes))

    def tell(self, candidate: Candidate, scored: Scored) -> None:
        pass

    def learnt(self) -> Probabilities | None:
        return None
