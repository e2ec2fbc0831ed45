"""The search space of the synthetic network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prunemap.compiler import ModelLayer
from prunemap.core.latency_table import LatencyTable
from prunemap.core.wiring import Wiring
from prunemap.mapping import Budget, MapRequest
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import SearchConfig, Space, make_space

UNKNOWN = Wiring()
MakeSpace = Callable[..., Space]


@pytest.fixture
def make_test_space(
    network: list[ModelLayer], make_table: Callable[[list[ModelLayer], dict[str, float]], LatencyTable]
) -> MakeSpace:
    def make(config: SearchConfig, latency_ms: float = 0.25, wiring: Wiring = UNKNOWN) -> Space:
        table = make_table(network, {"unstructured": 3.0, "punched:4x1": 1.1, "filter": 0.9})
        request = MapRequest(network, table, Budget(latency_ms=latency_ms), wiring=wiring)
        return make_space(request, Rules().map(request), config)

    return make
