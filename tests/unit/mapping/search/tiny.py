"""A small search without training: three convolutions, a made-up device, accuracy from what a plan keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prunemap.core.plan import Plan
from prunemap.mapping import Budget, MapRequest
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import (
    SEARCHERS,
    Evaluate,
    FastAccuracy,
    Journal,
    JournalHeader,
    Pool,
    Rung,
    Search,
    SearchConfig,
    SequentialPool,
    Space,
    make_space,
)
from tests.made_up_table import made_up_table
from tests.unit.mapping.conftest import conv

SLOWER = {"unstructured": 3.0, "punched": 1.1, "filter": 0.9}


def make_tiny_space(config: SearchConfig) -> Space:
    """Return a space of three decisions; latency = 1 µs + MACs · density / 50,000 × what the scheme costs."""
    names = ("stem", "a", "b", "c", "last")
    layers = [conv(name, 16 if i else 3, 16, 3, 14, seed=i) for i, name in enumerate(names)]
    table = made_up_table((layer.spec.setting for layer in layers), SLOWER)
    request = MapRequest(layers, table, Budget(latency_ms=0.08))
    return make_space(request, Rules().map(request), config)


@dataclass
class FakeEvaluate:
    """Remembers what it is asked; three rungs, each a little better."""

    asked: list[Plan] = field(default_factory=list)
    asked_again: list[Plan] = field(default_factory=list)
    """Of second looks."""

    def __call__(self, plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        (self.asked_again if second_look else self.asked).append(plan)
        kept = sum(layer.density ** (0.3 + i / 10) for i, layer in enumerate(plan.layers)) / len(plan.layers)
        rungs: list[Rung] = []
        for i in range(3):
            rungs.append(Rung(steps=10 * i, accuracy=0.7 * kept + 0.1 * i))
            if i < len(floors) and rungs[-1].accuracy < floors[i]:
                break
        return FastAccuracy(rungs=tuple(rungs), complete=len(rungs) == 3, seconds=0.5)


def make_search(path: Path, evaluate: Evaluate, config: SearchConfig, pool: Pool | None = None) -> Search:
    """Return a search with its journal at ``path``, resumed if there is one."""
    space = make_tiny_space(config)
    return Search(
        space,
        config,
        SEARCHERS[config.searcher].make(space.problem, config),
        pool or SequentialPool(evaluate),
        Journal.begin(path, JournalHeader(about={"model": "tiny"}, config=config), resume=True),
    )
