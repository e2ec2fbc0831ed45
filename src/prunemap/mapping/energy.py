"""Kept energy: e = Σ kept w² / Σ w², what a scheme leaves of a layer at a density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes import SCHEMES, group_scores, make_mask
from prunemap.schemes.scheme import GroupScheme

Weight = NDArray[np.floating[Any]]
EnergyAt = Callable[[float], tuple[float, float]]
"""Density asked for → (density met, kept energy)."""

RESOLUTION = 4096
"""Points kept of a curve; its density is exact to 1/4096 or one group, whichever is larger."""


def kept_energy(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    """Return the function from density to the density met and the share of the energy kept.

    Schemes that keep whole groups by score are sorted once here; the others make a mask per density asked for.

    Args:
        weight: (O, I, Kh, Kw) or (O, I), BatchNorm folded in.
    """
    if isinstance(SCHEMES[scheme.name], GroupScheme):
        return _from_sorted_groups(weight, scheme)
    return _from_masks(weight, scheme)


def _from_sorted_groups(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    view = SCHEMES[scheme.name].view(weight.shape, scheme)
    members = view.apply(weight)
    real = view.apply(np.ones(weight.shape, np.int32))
    order = np.argsort(-group_scores(members, real).ravel(), kind="stable")
    kept = np.cumsum(real.sum(axis=(-2, -1)).ravel()[order])
    energy = np.cumsum((members**2).sum(axis=(-2, -1), dtype=np.float64).ravel()[order])
    points = np.unique(np.linspace(0, order.size - 1, min(order.size, RESOLUTION)).round().astype(np.int64))
    weights, total, total_energy = kept[points], kept[-1], energy[-1] or 1.0

    def at(density: float) -> tuple[float, float]:
        nearest = int(np.argmin(np.abs(weights - density * total)))
        return float(weights[nearest] / total), float(energy[points[nearest]] / total_energy)

    return at


def _from_masks(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    squares = weight.astype(np.float64) ** 2
    total = float(squares.sum()) or 1.0

    def at(density: float) -> tuple[float, float]:
        mask = make_mask(weight, scheme, density)
        return float(mask.mean()), float(squares[mask].sum()) / total

    return at
