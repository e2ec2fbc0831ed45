"""A surrogate of a table of evaluations: accuracy of any candidate, by kernel ridge regression.

Not a measurement: how well it ranks candidates that it has not seen is in ``rank_correlation``, by cross-validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

import numpy as np
from numpy.typing import NDArray

from prunemap.mapping import Option
from prunemap.mapping.search import Candidate, Evaluation, Space, plan_key

FOLDS = 10
RIDGES, WIDTHS = (0.003, 0.01, 0.03, 0.1, 0.3), (1.0, 2.0, 4.0, 8.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Of the accuracy at one rung, fitted to a table."""

    seen: Floats
    """(rows, features), scaled."""
    weights: Floats
    mean: float
    width: float
    scale: tuple[Floats, Floats]
    rank_correlation: float
    """Spearman's, of rows that were left out of the fit."""
    residual: float
    """Standard deviation of what is left of those."""
    most: float
    """The largest accuracy of the table: predictions end there."""

    def __call__(self, features: Floats) -> float:
        """Return the accuracy, 0 to 1, of features (1, n)."""
        offset, spread = self.scale
        scaled = (features - offset) / spread
        found = self.mean + float((_kernel(scaled, self.seen, self.width) @ self.weights)[0])
        return float(np.clip(found, 0.0, self.most))


@dataclass(frozen=True, eq=False)
class Landscape:
    """Evaluations of candidates without training: a surrogate for every rung, and noise."""

    rungs: tuple[int, ...]
    """Training steps."""
    surrogates: tuple[Surrogate, ...]
    noise: float
    """Standard deviation of one evaluation, at every rung."""

    def accuracies(self, space: Space, candidate: Candidate, look: str | None = None) -> list[float]:
        """Return the accuracy at every rung.

        Args:
            space: of the candidate; any of the network that the table is of.
            look: names the evaluation; the same one of the same plan always has the same noise. None = without.
        """
        features = features_of(space, [candidate])
        noise = 0.0 if look is None else self.noise * _draw(f"{look} {plan_key(space.plan(candidate))}")
        return [float(np.clip(each(features) + noise, 0.0, 1.0)) for each in self.surrogates]


def _draw(of: str) -> float:
    """Return a normally distributed number that belongs to a text."""
    digest = sha256(of.encode()).digest()
    return float(np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal())


def features_of(space: Space, candidates: Sequence[Candidate]) -> Floats:
    """Return per layer the energy that is lost, its square root, and whether the scheme reads whole rows of filters.

    The columns are those of the layers in one order, whatever a candidate decides for layers that share filters.
    """
    names = sorted({layer.spec.name for decision in space.decisions for layer in decision.unit.layers})
    rows = []
    for candidate in candidates:
        options = _options_of(space, space.problem.canonical(candidate))
        lost = [1 - options[name].energy for name in names]
        blocks = [float(np.log2(np.prod(options[name].scheme.block or (1, 1)))) for name in names]
        rows.append([*lost, *np.sqrt(lost), *blocks])
    return np.array(rows)


def _options_of(space: Space, candidate: Candidate) -> dict[str, Option]:
    """Return by layer what a candidate has of it."""
    found: dict[str, Option] = {}
    for decision, action in zip(space.decisions, candidate, strict=True):
        overruled = decision.set_at is not None and candidate[decision.set_at] > 0
        for layer, option in zip(decision.unit.layers, decision.choices[action], strict=False):
            if not overruled:
                found[layer.spec.name] = option
    return found


def fit_landscape(space: Space, table: Sequence[Evaluation], noise: float) -> Landscape:
    """Return the landscape of a table whose rows all reached the same rungs.

    Args:
        noise: standard deviation of one evaluation.
    """
    features = features_of(space, [each.candidate for each in table])
    rungs = tuple(rung.steps for rung in table[0].rungs)
    accuracies = np.array([[rung.accuracy for rung in each.rungs] for each in table])
    return Landscape(rungs, tuple(fit_surrogate(features, of_rung) for of_rung in accuracies.T), noise)


def fit_surrogate(raw: Floats, accuracy: Floats) -> Surrogate:
    """Return the surrogate with the width and the ridge that rank left-out rows best.

    Args:
        raw: features (rows, n).
        accuracy: of every row.
    """
    offset, spread = raw.mean(0), raw.std(0) + 1e-9
    seen = (raw - offset) / spread
    fold = np.random.default_rng(0).permutation(len(raw)) % FOLDS
    left_out = {
        (width, ridge): _left_out(_kernel(seen, seen, width), accuracy, ridge, fold)
        for width, ridge in product(WIDTHS, RIDGES)
    }
    scores = {each: spearman(found, accuracy) for each, found in left_out.items()}
    width, ridge = max(scores, key=lambda each: scores[each])
    weights = np.linalg.solve(_kernel(seen, seen, width) + ridge * np.eye(len(seen)), accuracy - accuracy.mean())
    return Surrogate(
        seen,
        weights,
        float(accuracy.mean()),
        width,
        (offset, spread),
        rank_correlation=scores[width, ridge],
        residual=float(np.std(left_out[width, ridge] - accuracy)),
        most=float(accuracy.max()),
    )


def spearman(one: Sequence[float] | Floats, other: Sequence[float] | Floats) -> float:
    """Return the rank correlation; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(np.asarray(one)), _ranks(np.asarray(other)))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _kernel(one: Floats, other: Floats, width: float) -> Floats:
    """Linear plus Gaussian, both per feature."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    count = one.shape[1]
    kernel: Floats = 0.1 * one @ other.T / count + np.exp(-squares / (2 * width * count))
    return kernel


def _left_out(kernel: Floats, accuracy: Floats, ridge: float, fold: NDArray[np.int64]) -> Floats:
    """Return the prediction of every row by a fit without its fold."""
    found = np.empty_like(accuracy)
    for i in range(FOLDS):
        inside, outside = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
        mean = accuracy[inside].mean()
        weights = np.linalg.solve(kernel[np.ix_(inside, inside)] + ridge * np.eye(len(inside)), accuracy[inside] - mean)
        found[outside] = mean + kernel[np.ix_(outside, inside)] @ weights
    return found
