"""tpe and nsga2: the samplers of Optuna (https://optuna.org) behind the same interface. Needs the extra ``search``."""

from __future__ import annotations

from collections import deque
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from prunemap.errors import UserError
from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Scored
from prunemap.mapping.search.problem import Candidate, Problem
from prunemap.mapping.search.searcher import Probabilities


def make_tpe(problem: Problem, config: SearchConfig) -> OptunaSearch:
    """Return the tree-structured Parzen estimator, which raises the reward."""
    optuna = _optuna()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.seed))
    return OptunaSearch(problem, study, two_aims=False)


def make_nsga2(problem: Problem, config: SearchConfig) -> OptunaSearch:
    """Return NSGA-II, which seeks the front of accuracy and latency whatever the budget."""
    optuna = _optuna()
    sampler = optuna.samplers.NSGAIISampler(population_size=config.population, seed=config.seed)
    return OptunaSearch(
        problem, optuna.create_study(directions=["maximize", "minimize"], sampler=sampler), two_aims=True
    )


class OptunaSearch:
    """A study of Optuna; decisions that have no effect are not asked for."""

    def __init__(self, problem: Problem, study: Any, two_aims: bool) -> None:
        self._problem, self._study, self._two_aims = problem, study, two_aims
        self._asked: dict[Candidate, deque[Any]] = {}
        if problem.first is not None:
            study.enqueue_trial(
                {_name(i): action for i, action in enumerate(problem.first) if self._counts(i, problem.first)}
            )

    def ask(self) -> Candidate:
        trial, chosen = self._study.ask(), list[int]()
        for i, size in enumerate(self._problem.sizes):
            counts = self._counts(i, tuple(chosen))
            chosen.append(trial.suggest_categorical(_name(i), list(range(size))) if counts else 0)
        candidate = tuple(chosen)
        self._asked.setdefault(candidate, deque()).append(trial)
        return candidate

    def tell(self, candidate: Candidate, scored: Scored) -> None:
        values = [scored.accuracy, scored.latency_us] if self._two_aims else [scored.reward]
        self._study.tell(self._asked[candidate].popleft(), values)

    def learnt(self) -> Probabilities | None:
        return None

    def _counts(self, decision: int, chosen: Candidate) -> bool:
        by = self._problem.overruled_by[decision]
        return by is None or not chosen[by]


def _name(decision: int) -> str:
    return f"decision {decision}"


def _optuna() -> Any:
    if find_spec("optuna") is None:
        raise UserError("searcher: tpe and nsga2 need optuna; install it with: pip install 'prunemap[search]'")
    optuna = import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
