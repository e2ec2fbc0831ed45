"""A search on the synthetic network: accuracy is what the plan keeps, weighed by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from prunemap.compiler import ModelLayer
from prunemap.core.latency_table import LatencyTable
from prunemap.core.plan import Plan
from prunemap.mapping import Budget, MapRequest
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import FastAccuracy, Rung, SearchConfig, Space, make_space

MakeSpace = Callable[..., Space]


@pytest.fixture
def make_test_space(
    network: list[ModelLayer], make_table: Callable[[list[ModelLayer], dict[str, float]], LatencyTable]
) -> MakeSpace:
    def make(config: SearchConfig, latency_ms: float = 0.25, coupled: Sequence[frozenset[str]] = ()) -> Space:
        table = make_table(network, {"unstructured": 3.0, "punched:4x1": 1.1, "filter": 0.9})
        request = MapRequest(network, table, Budget(latency_ms=latency_ms), coupled=coupled)
        return make_space(request, Rules().map(request), config)

    return make


@dataclass
class FakeEvaluate:
    """Counts what it is asked; three rungs, each a little better."""

    asked: list[Plan] = field(default_factory=list)
    stop_after: int | None = None
    """Raise KeyboardInterrupt instead of evaluation number ``stop_after + 1``."""

    def __call__(self, plan: Plan, floors: Sequence[float]) -> FastAccuracy:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(plan)
        kept = sum(layer.density ** (0.3 + i / 10) for i, layer in enumerate(plan.layers)) / len(plan.layers)
        rungs: list[Rung] = []
        for i in range(3):
            rungs.append(Rung(steps=10 * i, accuracy=0.7 * kept + 0.1 * i))
            if i < len(floors) and rungs[-1].accuracy < floors[i]:
                break
        return FastAccuracy(rungs=tuple(rungs), complete=len(rungs) == 3, seconds=0.5)
