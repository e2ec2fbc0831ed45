from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from prunemap.mapping.allocate import Point, allocate, lower_hull


def points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point(cost, loss, index) for index, (cost, loss) in enumerate(pairs)]


def test_hull_skips_what_loses_more_than_a_cheaper_mix() -> None:
    hull = lower_hull(points((10, 0), (8, 5), (5, 2), (2, 9), (4, 9.5)))
    assert [point.index for point in hull] == [0, 2, 3]


def test_hull_ignores_what_is_not_cheaper_than_the_start() -> None:
    assert lower_hull(points((10, 0), (10, 1), (12, 2))) == [Point(10, 0, 0)]


def test_hull_prefers_the_smaller_loss_at_equal_cost() -> None:
    assert [point.index for point in lower_hull(points((10, 0), (5, 3), (5, 1)))] == [0, 2]


def test_takes_the_cheapest_losses_first_and_stops_at_the_budget() -> None:
    cheap, dear = points((10, 0), (5, 1)), points((10, 0), (5, 4))
    assert [p.index for p in allocate([cheap, dear], 20).chosen] == [0, 0]
    assert [p.index for p in allocate([cheap, dear], 15).chosen] == [1, 0]
    result = allocate([dear, cheap], 14)
    assert [p.index for p in result.chosen] == [1, 1]
    assert result.last == (0, dear[0])


def test_returns_the_cheapest_where_the_budget_cannot_be_met() -> None:
    assert allocate([points((10, 0), (5, 1))], 1).cost == 5


@pytest.mark.parametrize("seed", range(20))
def test_is_optimal_wherever_it_meets_a_budget_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = [
        points((10, 0), *zip(rng.uniform(1, 9, 4).tolist(), rng.uniform(0, 5, 4).tolist(), strict=True))
        for _ in range(3)
    ]
    result = allocate(units, rng.uniform(8, 25))
    loss = sum(point.loss for point in result.chosen)
    rivals = [choice for choice in product(*units) if sum(p.cost for p in choice) <= result.cost]
    assert loss <= min(sum(p.loss for p in choice) for choice in rivals) + 1e-9
