"""The policy's start: what is known of actions without any training, as probabilities.

Among all independent distributions over the actions, that of the largest entropy at a given expected latency and kept
energy is P(a) ∝ exp((e_a − λ c_a) / T): e the energy kept in the action's layers, c its latency as a share of the
budget, T a temperature; λ is chosen so that the expected latency is the budget. Where layers share filters, ``each by
itself`` is worth what its layers' own decisions are, T log Σ exp of theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prunemap.mapping.search.problem import Problem

HALVINGS = 60
HIGHEST_PRICE = 1e6

Floats = NDArray[np.float64]


def start_logits(problem: Problem, temperature: float) -> Floats:
    """Return the logits of every action, (n, largest size); all 0 where nothing is known of actions."""
    low, high = 0.0, HIGHEST_PRICE
    if _expected_cost(problem, _logits(problem, 0.0, temperature)) <= 1:
        return _logits(problem, 0.0, temperature)
    for _ in range(HALVINGS):
        price = (low + high) / 2
        over = _expected_cost(problem, _logits(problem, price, temperature)) > 1
        low, high = (price, high) if over else (low, price)
    return _logits(problem, high, temperature)


def _logits(problem: Problem, price: float, temperature: float) -> Floats:
    logits = (problem.keeps.astype(np.float64) - price * problem.costs) / temperature
    for i, by in enumerate(problem.overruled_by):
        if by is not None:
            row = logits[i, : problem.sizes[i]]
            logits[by, 0] += row.max() + np.log(np.exp(row - row.max()).sum())
    for i, size in enumerate(problem.sizes):
        logits[i] -= logits[i, :size].max()
    return logits


def _expected_cost(problem: Problem, logits: Floats) -> float:
    """Return the expected latency as a share of the budget."""
    probabilities = [
        np.exp(row[:size]) / np.exp(row[:size]).sum() for row, size in zip(logits, problem.sizes, strict=True)
    ]
    cost = problem.fixed_cost
    for i, (p, size) in enumerate(zip(probabilities, problem.sizes, strict=True)):
        by = problem.overruled_by[i]
        counts = 1.0 if by is None else float(probabilities[by][0])
        cost += counts * float(p @ problem.costs[i, :size])
    return cost
