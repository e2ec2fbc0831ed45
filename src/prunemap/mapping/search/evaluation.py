"""What an evaluation gives, what it is worth, and when it is stopped early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Protocol, Self

import numpy as np

from prunemap.core.plan import Plan
from prunemap.core.value import Value, now
from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.problem import Candidate


class Rung(Value):
    """Held-out accuracy, 0 to 1, after so many training steps."""

    steps: int
    accuracy: float


class FastAccuracy(Value):
    """What a fast evaluation found, rung by rung; stopped early it has fewer than there are."""

    rungs: tuple[Rung, ...]
    complete: bool
    """Whether it was trained to the last rung."""
    seconds: float
    diverged: bool = False
    """Whether training ended since its loss was no number."""


class Evaluate(Protocol):
    """Trains and measures a plan."""

    def __call__(self, plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        """Return the accuracies.

        Args:
            floors: per rung but the last, the accuracy below which the evaluation ends there; missing ones end nothing.
            second_look: train on other batches and measure on other held-out images.
        """


class Evaluation(Value):
    """One evaluated candidate; a line of the journal."""

    key: str
    """Hash of the plan's choices."""
    candidate: Candidate
    rungs: tuple[Rung, ...]
    complete: bool
    latency_us: float
    seconds: float
    diverged: bool = False
    finished: str = ""
    second_look: bool = False
    """Whether it is of a finalist, on other batches and images; the searcher learns nothing of it."""

    @classmethod
    def of(
        cls, key: str, candidate: Candidate, latency_us: float, found: FastAccuracy, *, second_look: bool = False
    ) -> Self:
        """Return what was found of a candidate just now."""
        return cls(
            key=key,
            candidate=candidate,
            rungs=found.rungs,
            complete=found.complete,
            latency_us=latency_us,
            seconds=found.seconds,
            diverged=found.diverged,
            finished=now(),
            second_look=second_look,
        )

    @property
    def accuracy(self) -> float:
        """Held-out accuracy at the last rung that was reached, 0 to 1."""
        return self.rungs[-1].accuracy


@dataclass(frozen=True)
class Scored:
    """What a searcher is told of a candidate."""

    reward: float
    accuracy: float
    latency_us: float


@dataclass(frozen=True)
class Objective:
    """Reward = accuracy − penalty · max(0, latency / budget − 1)."""

    budget_us: float
    config: SearchConfig

    def cost(self, latency_us: float) -> float:
        """Return what a latency takes off the accuracy."""
        return self.config.penalty * max(0.0, latency_us / self.budget_us - 1)

    def meets(self, latency_us: float) -> bool:
        """Return whether a latency is within the budget."""
        return latency_us <= self.budget_us * (1 + 1e-9)

    def score(self, evaluation: Evaluation) -> Scored:
        """Return what an evaluation is worth."""
        reward = evaluation.accuracy - self.cost(evaluation.latency_us)
        return Scored(reward, evaluation.accuracy, evaluation.latency_us)

    def told(self, evaluation: Evaluation, done: Sequence[Evaluation]) -> Scored:
        """Return what a searcher is told: of a candidate that was stopped, what it might have reached.

        That is its accuracy plus the median gain from there to the end of those that were trained to the end, at most
        their median accuracy: it was stopped since the better half was ahead of it. So what was trained less does not
        look worse for that alone.

        Args:
            done: evaluations so far.
        """
        complete = [each for each in done if each.complete]
        if evaluation.complete or not complete:
            return self.score(evaluation)
        at = len(evaluation.rungs) - 1
        gain = median(each.accuracy - each.rungs[at].accuracy for each in complete)
        accuracy = evaluation.accuracy + max(0.0, gain)
        accuracy = max(evaluation.accuracy, min(accuracy, median(each.accuracy for each in complete)))
        return Scored(accuracy - self.cost(evaluation.latency_us), accuracy, evaluation.latency_us)

    def floors(self, done: Sequence[Evaluation], latency_us: float) -> tuple[float, ...]:
        """Return the accuracies below which the next evaluation is hopeless, rung by rung (successive halving).

        At every rung the candidate must be among the best ``keep`` of those that reached it, by reward there.
        """
        longest = max((len(each.rungs) for each in done), default=0)
        return tuple(self._floor(done, rung) + self.cost(latency_us) for rung in range(longest - 1))

    def _floor(self, done: Sequence[Evaluation], rung: int) -> float:
        reached = [e.rungs[rung].accuracy - self.cost(e.latency_us) for e in done if len(e.rungs) > rung]
        if self.config.keep == 1 or len(reached) < self.config.stop_after:
            return -inf
        return float(np.quantile(reached, 1 - self.config.keep))

    def best(self, done: Sequence[Evaluation], second_looks: Sequence[Evaluation] = ()) -> Evaluation | None:
        """Return the most accurate one within the budget that was trained to the end; else the best reward.

        The best of many is partly the luckiest: where some had a second look it is one of those, by the mean of both.
        """
        again = {each.key: each.accuracy for each in second_looks}
        eligible = self._eligible(done)

        def reward(each: Evaluation) -> float:
            return (each.accuracy + again.get(each.key, each.accuracy)) / 2 - self.cost(each.latency_us)

        return max([each for each in eligible if each.key in again] or eligible, key=reward, default=None)

    def finalists(self, done: Sequence[Evaluation], always: str | None) -> list[Evaluation]:
        """Return which are to have a second look, best first; none where there is nothing to choose.

        Args:
            always: key of the one that has it if it may be chosen at all.
        """
        ranked = sorted(self._eligible(done), key=lambda each: -self.score(each).reward)
        chosen = [each for i, each in enumerate(ranked) if i < self.config.finalists or each.key == always]
        return chosen if len(chosen) > 1 else []

    def _eligible(self, done: Sequence[Evaluation]) -> list[Evaluation]:
        complete = [each for each in done if each.complete]
        return [each for each in complete if self.meets(each.latency_us)] or complete


def front(done: Sequence[Evaluation]) -> list[int]:
    """Return the places of the completed evaluations that none beats in accuracy and latency, fastest first."""
    order = sorted((i for i, e in enumerate(done) if e.complete), key=lambda i: (done[i].latency_us, -done[i].accuracy))
    found: list[int] = []
    for i in order:
        if not found or done[i].accuracy > done[found[-1]].accuracy:
            found.append(i)
    return found
