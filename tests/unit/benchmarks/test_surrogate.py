"""The surrogate of benchmarks/search.py: its features are of the layers, whatever the candidate decides."""

from __future__ import annotations

import numpy as np

from benchmarks.surrogate import features_of
from prunemap.mapping import Budget, MapRequest
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import SearchConfig, Space, make_space
from tests.made_up_table import made_up_table
from tests.unit.mapping.conftest import conv


def make_shared_space() -> Space:
    """Return a space in which the first and the last of three layers may share filters."""
    layers = [conv(name, 16 if i else 3, 16, 3, 14, seed=i) for i, name in enumerate(("stem", "a", "b", "c", "last"))]
    table = made_up_table((layer.spec.setting for layer in layers), {"filter": 0.9})
    request = MapRequest(layers, table, Budget(latency_ms=0.08), coupled=(frozenset({"a", "c"}),))
    return make_space(request, Rules().map(request), SearchConfig(seeded=False))


def test_a_column_is_of_the_same_layer_whether_filters_are_shared_or_not() -> None:
    space = make_shared_space()
    assert [each.name for each in space.decisions] == ["filters of a, c", "a", "b", "c"]
    apart, together = features_of(space, [(0, 0, 1, 0), (1, 0, 1, 0)])[:, :3]
    lost = 1 - space.decisions[2].choices[1][0].energy
    assert lost > 0
    np.testing.assert_allclose(apart, [0, lost, 0])
    shared = [1 - option.energy for option in space.decisions[0].choices[1]]
    np.testing.assert_allclose(together, [shared[0], lost, shared[1]])
