"""Records of a made-up search."""

from __future__ import annotations

from prunemap.core.plan import ModelIdentity
from prunemap.mapping.search import Evaluation, Rung, SearchConfig, SearchedDecision, SearchRecord


def evaluation(number: int, accuracy: float, latency_us: float, complete: bool = True) -> Evaluation:
    rungs = (Rung(steps=0, accuracy=accuracy / 2), *([Rung(steps=30, accuracy=accuracy)] if complete else []))
    return Evaluation(
        key=str(number), candidate=(number % 2, 0), rungs=rungs, complete=complete, latency_us=latency_us, seconds=2.0
    )


def search_record(searcher: str = "reinforce", layer: str = "conv_a") -> SearchRecord:
    """Four evaluations: the rules, a better one, one stopped, one over the budget of 100 µs."""
    found = (
        evaluation(0, 0.70, 99.0),
        evaluation(1, 0.75, 95.0),
        evaluation(2, 0.60, 90.0, complete=False),
        evaluation(3, 0.80, 120.0),
    )
    learnt = searcher == "reinforce"
    return SearchRecord(
        model=ModelIdentity(name="net"),
        config=SearchConfig(searcher=searcher, evaluations=4),
        about={"data": "stripes"},
        budget_us=100.0,
        dense_us=400.0,
        dense_accuracy=0.85,
        rules_us=99.0,
        evaluations=found,
        rewards=(0.70, 0.75, 0.30, 0.40),
        rules=0,
        other_images=1000,
        second_looks=tuple(
            evaluation(number, accuracy, 0.0).model_copy(update={"second_look": True})
            for number, accuracy in ((0, 0.72), (1, 0.73))
        ),
        best=1,
        front=(1, 3),
        decisions=(
            SearchedDecision(
                name=layer,
                actions=("dense", "punched:8x4@0.2", "filter@0.1"),
                chosen=1,
                probabilities=(0.1, 0.65, 0.25) if learnt else None,
            ),
            SearchedDecision(
                name="filters of b, c",
                actions=("each by itself", "filter@0.5"),
                chosen=None,
                probabilities=(0.9, 0.1) if learnt else None,
            ),
        ),
    )
