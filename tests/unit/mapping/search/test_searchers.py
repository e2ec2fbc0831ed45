"""Every searcher keeps to the rules of the table; the policy learns, and chance does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import pytest

from prunemap.errors import UserError
from prunemap.mapping.search import (
    SEARCHERS,
    Candidate,
    Problem,
    ReinforceConfig,
    Scored,
    SearchConfig,
    optuna_search,
    plain_problem,
)
from prunemap.mapping.search.start import start_logits

NEEDS_OPTUNA = pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed (extra search)")
EVERY = [pytest.param(name, marks=NEEDS_OPTUNA if name in ("tpe", "nsga2") else ()) for name in SEARCHERS]
LEARNT_WITHIN = 300
"""Evaluations, of 15,625 candidates."""


@pytest.fixture
def problem() -> Problem:
    """Four decisions; where the second is not 0, the third has no effect."""
    return replace(plain_problem((3, 2, 4, 3), first=(2, 0, 1, 1)), overruled_by=(None, None, 1, None))


def worth(candidate: Candidate) -> Scored:
    reward = sum(candidate) / 10
    return Scored(reward, reward, 1.0 + candidate[0])


def sequence(name: str, problem: Problem, seed: int, count: int = 15) -> list[Candidate]:
    searcher, found = SEARCHERS[name].make(problem, SearchConfig(searcher=name, seed=seed, population=5)), []
    for _ in range(count):
        found.append(searcher.ask())
        searcher.tell(found[-1], worth(found[-1]))
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_first_candidate_comes_first_and_all_are_canonical(name: str, problem: Problem) -> None:
    found = sequence(name, problem, seed=0)
    assert found[0] == problem.first
    assert all(problem.canonical(each) == each for each in found)
    assert all(0 <= action < size for each in found for action, size in zip(each, problem.sizes, strict=True))
    assert any(each[1] for each in found) and len(set(found)) > 5
    assert sequence(name, replace(problem, first=None), seed=0)[0] != problem.first or name == "nsga2"


@pytest.mark.parametrize("name", EVERY)
def test_the_same_seed_gives_the_same_sequence(name: str, problem: Problem) -> None:
    assert sequence(name, problem, seed=3) == sequence(name, problem, seed=3)
    assert sequence(name, problem, seed=3) != sequence(name, problem, seed=4)


@pytest.mark.parametrize("name", EVERY)
def test_several_may_be_asked_for_before_one_is_told(name: str, problem: Problem) -> None:
    searcher = SEARCHERS[name].make(problem, SearchConfig(searcher=name))
    asked = [searcher.ask() for _ in range(3)]
    for candidate in reversed(asked):
        searcher.tell(candidate, worth(candidate))
    assert len(searcher.ask()) == len(problem.sizes)


def landscape(seed: int) -> tuple[Problem, Callable[[Candidate], float]]:
    """Six decisions of five actions: value grows with the root of the cost, noisily; the budget is half the cost.

    The searchers are told of neither.
    """
    rng, i = np.random.default_rng(seed), np.arange(6)
    costs = np.sort(rng.random((6, 5)), 1)
    values = np.sqrt(costs) * rng.uniform(0.5, 1.5, (6, 1)) + 0.2 * rng.random((6, 5))
    costs /= 0.5 * costs[:, -1].sum()

    def reward(candidate: Candidate) -> float:
        value = values[i, list(candidate)].sum() / values.max(1).sum()
        return float(value - 2 * max(0.0, costs[i, list(candidate)].sum() - 1))

    return plain_problem((5,) * 6), reward


def best_of(name: str, problem: Problem, reward: Callable[[Candidate], float], seed: int, enough: float) -> float:
    """Return the best reward that is found; the search ends where it is enough."""
    searcher, best = SEARCHERS[name].make(problem, SearchConfig(searcher=name, seed=seed)), -np.inf
    for _ in range(LEARNT_WITHIN):
        candidate = searcher.ask()
        found = reward(candidate)
        searcher.tell(candidate, Scored(found, found, 1.0))
        best = max(best, found)
        if best >= enough:
            break
    return float(best)


def test_the_policy_finds_99_percent_of_the_optimum_where_chance_does_not() -> None:
    """On four landscapes; on one of them it may come a little short."""
    found: dict[str, list[float]] = {"reinforce": [], "random": []}
    for seed in range(4):
        problem, reward = landscape(seed)
        optimum = max(map(reward, product(range(5), repeat=6)))
        for name, shares in found.items():
            shares.append(best_of(name, problem, reward, seed, enough=0.99 * optimum) / optimum)
    reached = {name: sum(share >= 0.99 for share in shares) for name, shares in found.items()}
    assert reached["reinforce"] >= 3 and min(found["reinforce"]) > 0.97, found
    assert reached["random"] <= 1, found


def test_what_is_learnt_are_probabilities_that_favour_what_pays() -> None:
    problem = plain_problem((3, 3))
    searcher = SEARCHERS["reinforce"].make(problem, SearchConfig(seed=1))
    start = searcher.learnt()
    assert start is not None and start[0] == pytest.approx((1 / 3,) * 3)
    for _ in range(9):
        candidate = searcher.ask()
        searcher.tell(candidate, Scored(float(candidate == (2, 0)), 0.0, 1.0))
    learnt = searcher.learnt()
    assert learnt is not None
    assert [sum(row) for row in learnt] == pytest.approx([1.0, 1.0])
    assert learnt[0][2] > 0.45 and learnt[1][0] > 0.45
    assert SEARCHERS["random"].make(problem, SearchConfig()).learnt() is None


def test_nothing_is_proposed_twice_while_there_is_something_new() -> None:
    found = sequence("reinforce", plain_problem((3, 2, 2)), seed=0, count=8)
    assert len(set(found)) == 8


def test_the_warm_start_makes_the_first_candidate_as_probable_as_asked() -> None:
    problem = plain_problem((6, 6, 6), first=(5, 0, 3))
    learnt = SEARCHERS["reinforce"].make(problem, SearchConfig()).learnt()
    assert learnt is not None
    chosen = [row[action] for row, action in zip(learnt, (5, 0, 3), strict=True)]
    assert np.prod(chosen) == pytest.approx(SearchConfig().reinforce.warm_start ** 3, rel=0.1)


def test_the_warm_start_is_of_the_decisions_that_count() -> None:
    problem = replace(plain_problem((4, 6, 6, 6), first=(2, 0, 0, 3)), overruled_by=(None, 0, 0, None))
    learnt = SEARCHERS["reinforce"].make(problem, SearchConfig()).learnt()
    assert learnt is not None
    assert learnt[0][2] * learnt[3][3] == pytest.approx(SearchConfig().reinforce.warm_start ** 2, rel=0.1)


def test_without_optuna_its_searchers_say_what_to_install(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        return None

    monkeypatch.setattr(optuna_search, "find_spec", none)
    for name in ("tpe", "nsga2"):
        with pytest.raises(UserError, match=r"pip install 'prunemap\[search\]'"):
            SEARCHERS[name].make(problem, SearchConfig(searcher=name))


def test_the_policy_starts_near_the_budget_with_what_keeps_energy() -> None:
    """Two layers that keep the root of what they cost; then a set that shares filters, which is worth more."""
    costs = np.tile(np.linspace(0.1, 1.0, 10, dtype=np.float32), (2, 1))
    known = replace(plain_problem((10, 10)), costs=costs, keeps=np.sqrt(costs))
    logits = start_logits(known, temperature=0.02)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert (p * costs).sum() == pytest.approx(1.0, abs=1e-3)
    assert p.argmax(1).tolist() == [4, 4], "half of the budget each"
    loose = start_logits(replace(known, costs=costs / 10), temperature=0.02)
    assert loose.argmax(1).tolist() == [9, 9], "within the budget the most energy"
    assert (start_logits(plain_problem((4, 2)), 0.05) == 0).all()

    together = replace(
        plain_problem((2, 3, 3)),
        overruled_by=(None, 0, 0),
        costs=np.array([[0, 0.5, 0], [0.9, 0.5, 0.2], [0.9, 0.5, 0.2]], np.float32),
        keeps=np.array([[0, 1.8, 0], [1.0, 0.6, 0.3], [1.0, 0.6, 0.3]], np.float32),
    )
    assert start_logits(together, temperature=0.05)[0].argmax() == 1
    worse = replace(together, keeps=together.keeps * np.array([[0.3], [1.0], [1.0]], np.float32))
    assert start_logits(worse, temperature=0.05)[0].argmax() == 0


def test_the_entropy_bonus_fades(problem: Problem) -> None:
    """With nothing to be learnt, what keeps a policy undecided is the bonus alone."""

    def likeliest(explore: int) -> float:
        config = SearchConfig(reinforce=ReinforceConfig(entropy=1.0, imitation=0.0, explore=explore))
        searcher = SEARCHERS["reinforce"].make(problem, config)
        for _ in range(20):
            searcher.ask()
            searcher.tell(problem.first or (), Scored(0.5, 0.5, 1.0))
        learnt = searcher.learnt()
        assert learnt is not None
        return float(np.mean([max(row) for row in learnt]))

    assert likeliest(1) > likeliest(10**6) + 0.05
