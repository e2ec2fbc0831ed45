"""SearchRecord: search.json, how a search went; what the report shows."""

from __future__ import annotations

from typing import Literal, NamedTuple

from prunemap.core.plan import ModelIdentity
from prunemap.core.value import Value
from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Evaluation, Objective


class SearchedDecision(Value):
    """A decision with what became of it."""

    name: str
    actions: tuple[str, ...]
    chosen: int | None
    """The action of the best candidate; None where it has no effect."""
    probabilities: tuple[float, ...] | None = None
    """What the policy has learnt, by action; None for a searcher without."""


class Finalist(NamedTuple):
    """A candidate that was evaluated twice; accuracies are 0 to 1."""

    place: int
    """Of its first evaluation, from 0."""
    first: float
    again: float

    @property
    def mean(self) -> float:
        """What it is chosen by."""
        return (self.first + self.again) / 2


class SearchRecord(Value):
    """search.json: every evaluation in order, and what came of them. Places count from 0."""

    version: Literal[1] = 1
    model: ModelIdentity
    config: SearchConfig
    about: dict[str, str]
    """As the journal has it."""
    budget_us: float
    dense_us: float
    dense_accuracy: float | None = None
    """Held-out accuracy of the dense network, 0 to 1, where it was measured."""
    rules_us: float | None = None
    """Predicted latency of the rule plan; None where the rules cannot meet the budget."""
    rules: int | None = None
    """The evaluation of the rule plan; None where it was no candidate."""
    other_images: int | None = None
    """How many held-out images of a second look are others than those of the first; None where it is not known."""
    evaluations: tuple[Evaluation, ...]
    rewards: tuple[float, ...]
    """Of each of them."""
    second_looks: tuple[Evaluation, ...] = ()
    """At the finalists, in the order of their evaluations."""
    best: int
    """The most accurate within the budget that was trained to the end, by the mean of both looks where it had two;
    where none was, the best reward."""
    front: tuple[int, ...]
    """Evaluations that none beats in accuracy and latency, fastest first."""
    decisions: tuple[SearchedDecision, ...]
    measured: bool = False
    """Whether latencies are measured ones; else they are the table's."""
    command: str = ""
    date: str = ""

    @property
    def meets_budget(self) -> bool:
        """Whether the best is within the budget; if not, nothing that was trained to the end was."""
        return Objective(self.budget_us, self.config).meets(self.evaluations[self.best].latency_us)

    def finalists(self) -> list[Finalist]:
        """Return what had a second look, the best mean first."""
        again = {each.key: each.accuracy for each in self.second_looks}
        found = [Finalist(i, e.accuracy, again[e.key]) for i, e in enumerate(self.evaluations) if e.key in again]
        return sorted(found, key=lambda each: -each.mean)

    def best_rewards(self) -> list[float]:
        """Return the best reward so far after every evaluation, of those that were trained to the end."""
        found, best = [], float("-inf")
        for evaluation, reward in zip(self.evaluations, self.rewards, strict=True):
            best = max(best, reward) if evaluation.complete else best
            found.append(best)
        return found
