"""``compare`` of search.py: the searchers on a landscape that is fitted to a table of evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from search_again import read_second_looks
from search_setup import Facts, Setup
from surrogate import Landscape, fit_landscape

from prunemap.core.value import Value, write_json
from prunemap.mapping.search import (
    SEARCHERS,
    Candidate,
    Evaluation,
    Objective,
    ReinforceConfig,
    Rung,
    SearchConfig,
    Space,
)

SEEDS = range(5)
UNINFORMED = "reinforce, start uninformed"
COMPARED = ("random", "tpe", UNINFORMED, "reinforce")


class Compared(Value):
    """One searcher, seeded or not, over the seeds."""

    searcher: str
    seeded: bool
    best: tuple[float, ...]
    """Reward of every seed's winner as the search saw it: with noise, by the mean of both looks."""
    mean: float
    standard_error: float
    first: tuple[float, ...]
    """Without noise, of what every seed would have taken without second looks."""
    true: tuple[float, ...]
    """Reward of every seed's winner without the noise: what it is worth."""
    true_mean: float
    true_standard_error: float
    stopped: float
    """Mean share of the evaluations that were stopped early."""
    curve: tuple[float, ...]
    """Mean over the seeds of the best reward so far, by evaluation; without second looks."""


class Comparison(Facts):
    """Result of ``compare``."""

    table: str
    rows: int
    rungs: tuple[int, ...]
    surrogate_rank_correlation: float
    """Of the last rung."""
    surrogate_residual: float
    """Standard deviation on rows left out."""
    noise: float
    """Standard deviation of an evaluation, by ``again``."""
    surrogate_ceiling: float
    """The largest accuracy of the table: no prediction is above it."""
    evaluations: int
    rules_reward: float
    """Without noise."""
    rows_best_reward: float
    """Of the table's own rows, as they were measured."""
    results: tuple[Compared, ...] = ()


class Replayed(Value):
    """One search."""

    curve: tuple[float, ...]
    seen: float
    first: float
    true: float
    stopped: float


def compare(setup: Setup) -> None:
    rows = setup.table()
    noise = read_second_looks(setup.options.again, setup.options.table, "--again").noise
    if noise is None:
        raise SystemExit(f"--again: {setup.options.again} has less than two plans")
    landscape = fit_landscape(setup.space, rows, noise)
    objective, last = Objective(setup.space.budget_us, SearchConfig()), landscape.surrogates[-1]
    print(f"surrogate of {len(rows)} rows, rank correlation of rows left out {last.rank_correlation:.3f}")
    first = setup.space.first or ()
    result = Comparison.model_validate(
        {
            **setup.facts(),
            "table": Path(setup.options.table).name,
            "rows": len(rows),
            "rungs": landscape.rungs,
            "surrogate_rank_correlation": last.rank_correlation,
            "surrogate_residual": last.residual,
            "noise": noise,
            "surrogate_ceiling": last.most,
            "evaluations": setup.options.evaluations,
            "rules_reward": true_reward(landscape, setup.space, first, objective),
            "rows_best_reward": max(objective.score(row).reward for row in rows),
        }
    )
    for seeded in (False, True):
        space = setup.space if seeded else setup.unseeded_space
        for name in COMPARED:
            found = [replay(landscape, space, name, seed, seeded, setup.options.evaluations) for seed in SEEDS]
            compared = _compared(name, seeded, found)
            result = result.model_copy(update={"results": (*result.results, compared)})
            write_json(setup.options.output, result)
            seen = f"{compared.mean:.4f} ± {compared.standard_error:.4f}"
            true = f"{compared.true_mean:.4f} ± {compared.true_standard_error:.4f}"
            print(f"{_kind(seeded)} {name}: seen {seen}, true {true}", flush=True)
    for seeded in (False, True):
        ranked = sorted((each for each in result.results if each.seeded == seeded), key=lambda each: -each.true_mean)
        print(f"{_kind(seeded)}, by the true reward: {', '.join(each.searcher for each in ranked)}")


def _kind(seeded: bool) -> str:
    return "seeded" if seeded else "unseeded"


def _compared(name: str, seeded: bool, found: list[Replayed]) -> Compared:
    curves, true = np.array([each.curve for each in found]), np.array([each.true for each in found])
    best = np.array([each.seen for each in found])
    return Compared(
        searcher=name,
        seeded=seeded,
        best=tuple(best.tolist()),
        mean=float(best.mean()),
        standard_error=float(best.std(ddof=1) / np.sqrt(len(best))),
        first=tuple(each.first for each in found),
        true=tuple(true.tolist()),
        true_mean=float(true.mean()),
        true_standard_error=float(true.std(ddof=1) / np.sqrt(len(true))),
        stopped=float(np.mean([each.stopped for each in found])),
        curve=tuple(np.round(curves.mean(0), 5).tolist()),
    )


def true_reward(landscape: Landscape, space: Space, candidate: Candidate, objective: Objective) -> float:
    """Return what a candidate is worth without the noise of an evaluation."""
    return landscape.accuracies(space, candidate)[-1] - objective.cost(space.latency_us(candidate))


def replay(landscape: Landscape, space: Space, name: str, seed: int, seeded: bool, evaluations: int) -> Replayed:
    """Search the landscape as the tool does: hopeless candidates stopped, finalists looked at again.

    What is proposed again costs nothing.
    """
    config = SearchConfig(seed=seed, seeded=seeded, reinforce=ReinforceConfig(informed=name != UNINFORMED))
    searcher = SEARCHERS["reinforce" if name == UNINFORMED else name].make(space.problem, config)
    objective, known, curve = Objective(space.budget_us, config), dict[Candidate, Evaluation](), list[float]()
    for _ in range(20 * evaluations):
        candidate, done = searcher.ask(), list(known.values())
        if candidate not in known:
            known[candidate] = _evaluation(landscape, space, candidate, objective, done, str(seed))
            done.append(known[candidate])
            best = objective.best(done)
            curve.append(float("-inf") if best is None else objective.score(best).reward)
        searcher.tell(candidate, objective.told(known[candidate], done))
        if len(curve) == evaluations:
            break
    done = list(known.values())
    always = str(space.first) if seeded else None
    again = [
        _evaluation(landscape, space, each.candidate, objective, [], f"{seed} again")
        for each in objective.finalists(done, always)
    ]
    first, winner = objective.best(done), objective.best(done, again)
    assert first is not None and winner is not None, "the first candidates are not stopped"
    looks = [each.accuracy for each in (winner, *again) if each.key == winner.key]
    return Replayed(
        curve=(*curve, *[curve[-1]] * (evaluations - len(curve))),
        seen=float(np.mean(looks)) - objective.cost(winner.latency_us),
        first=true_reward(landscape, space, first.candidate, objective),
        true=true_reward(landscape, space, winner.candidate, objective),
        stopped=sum(not each.complete for each in known.values()) / len(known),
    )


def _evaluation(
    landscape: Landscape, space: Space, candidate: Candidate, objective: Objective, done: list[Evaluation], look: str
) -> Evaluation:
    latency_us, rungs = space.latency_us(candidate), list[Rung]()
    floors = (*objective.floors(done, latency_us), *[float("-inf")] * len(landscape.rungs))
    accuracies = landscape.accuracies(space, candidate, look)
    for steps, accuracy, floor in zip(landscape.rungs, accuracies, floors, strict=False):
        rungs.append(Rung(steps=steps, accuracy=accuracy))
        if accuracy < floor:
            break
    complete = len(rungs) == len(landscape.rungs)
    return Evaluation(
        key=str(candidate), candidate=candidate, rungs=tuple(rungs), complete=complete, latency_us=latency_us, seconds=0
    )
