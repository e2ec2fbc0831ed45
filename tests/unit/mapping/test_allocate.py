from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies

from prunemap.mapping.allocate import BUCKETS, Allocator, Frontier, Numbers

Unit = tuple[Numbers, Numbers]


def unit(*pairs: tuple[float, float]) -> Unit:
    costs, losses = np.array(pairs, float).T
    return costs, losses


def sums(units: list[Unit], chosen: list[int]) -> tuple[float, float]:
    cost, loss = (sum(float(each[k][i]) for each, i in zip(units, chosen, strict=True)) for k in range(2))
    return cost, loss


def test_what_costs_and_loses_no_less_is_dropped() -> None:
    frontier = Frontier.of(*unit((10, 0), (8, 5), (5, 2), (5, 3), (2, 9), (5, 2), (12, 0)))
    assert frontier.indices.tolist() == [4, 2, 0]
    assert frontier.costs.tolist() == [2, 5, 10] and frontier.losses.tolist() == [9, 2, 0]


def test_a_choice_inside_the_hull_is_taken_where_it_fits() -> None:
    units = [unit((10, 0), (8, 4), (2, 6)), unit((10, 0))]
    assert Allocator(units).within(18) == [1, 0]


def test_budgets_at_the_ends() -> None:
    allocator = Allocator([unit((10, 0), (5, 1)), unit((10, 0), (5, 4), (4, 9))])
    assert (allocator.least, allocator.most) == (9, 20)
    assert allocator.within(20) == allocator.within(1e9) == allocator.start == [0, 0]
    assert allocator.within(9) == allocator.cheapest == [1, 2]
    assert allocator.within(8.999) is None
    assert Allocator([]).within(0) == [] and Allocator([unit((3, 1))]).within(3) == [0]


amounts = strategies.floats(0, 10, width=32)


@given(
    units=strategies.lists(strategies.lists(strategies.tuples(amounts, amounts), min_size=1, max_size=5), max_size=4),
    share=strategies.floats(0, 1),
)
def test_no_other_choice_that_costs_a_little_less_loses_less(units: list[list[tuple[float, float]]], share) -> None:
    made = [unit(*pairs) for pairs in units]
    allocator = Allocator(made)
    budget = allocator.least + share * (allocator.most - allocator.least)
    chosen = allocator.within(budget)
    assert chosen is not None
    cost, loss = sums(made, chosen)
    assert cost <= budget * (1 + 1e-12)
    slack = (len(made) + 1) * (allocator.most - allocator.least) / BUCKETS
    every = (sums(made, list(rival)) for rival in product(*(range(len(pairs)) for pairs in units)))
    assert loss <= min((rival for cost, rival in every if cost <= budget - slack), default=np.inf) + 1e-9


@pytest.mark.parametrize("count", [1, 60])
def test_budgets_are_met_and_a_larger_one_loses_no_more(count: int) -> None:
    rng = np.random.default_rng(count)
    made = [(rng.uniform(1, 9, 40), rng.uniform(0, 5, 40)) for _ in range(count)]
    allocator = Allocator(made)
    budgets = np.linspace(allocator.least, allocator.most, 30)
    found = [sums(made, chosen) for budget in budgets if (chosen := allocator.within(budget))]
    costs, losses = map(list, zip(*found, strict=True))
    assert all(cost <= budget for cost, budget in zip(costs, budgets, strict=True))
    assert losses == sorted(losses, reverse=True)
