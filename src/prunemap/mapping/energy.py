"""Kept energy: e = Σ kept w² / Σ w², what a scheme leaves of a layer at a density; of whole filters its power of 2.5.

The layers behind lose the channels of a filter, and so about as much again: a power of 2. By what networks lost in
accuracy it is a little more; with 2.5 whole filters lie among the other schemes (``benchmarks/energy_loss.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes import SCHEMES, group_scores, make_mask
from prunemap.schemes.block import Block
from prunemap.schemes.pattern import kernels_kept, pattern_norms
from prunemap.schemes.scheme import GroupScheme

Weight = NDArray[np.floating[Any]]
EnergyAt = Callable[[float], tuple[float, float]]
"""Density asked for → (density met, share of Σ w² kept)."""

FILTER_POWER = 2.5
"""Of the share of Σ w² that whole filters keep: as energy it counts as much as that of other schemes."""
RESOLUTION = 4096
"""Points kept of a curve; its density is exact to 1/4096 or one group, whichever is larger."""
SAMPLE = 1 << 23
"""Weights that a curve is made of at most, where its groups are many and small."""


def kept_share(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    """Return the function from density to the density met and the share of Σ w² kept in the layer itself.

    What a scheme sorts is sorted once, here; a scheme that is none of these makes a mask per density asked for. Of very
    large weights (the first linear layer of VGG-16 has a hundred million) it sorts a sample.

    Args:
        weight: (O, I, Kh, Kw) or (O, I), BatchNorm folded in.
    """
    weight = _sampled(weight, scheme)
    grouped = isinstance(SCHEMES[scheme.name], GroupScheme)
    return (_from_sorted_groups if grouped else _OTHERS.get(scheme.name, _from_masks))(weight, scheme)


def as_counted(share: float, scheme: SchemeSpec) -> float:
    """Return the energy that a share of Σ w² in one layer counts as."""
    return share**FILTER_POWER if scheme.name == "filter" else share


def _sampled(weight: Weight, scheme: SchemeSpec) -> Weight:
    """Return evenly spread rows of blocks, no more than SAMPLE weights of them, where no group is in two of them."""
    if weight.size <= SAMPLE or scheme.name not in ("unstructured", "punched", "block"):
        return weight
    height = scheme.block[0] if scheme.block else 1
    bands = -(-len(weight) // height)
    taken = max(1, SAMPLE * len(weight) // (weight.size * height))
    chosen = np.linspace(0, bands - 1, min(bands, taken)).round().astype(np.int64)
    rows = (chosen[:, None] * height + np.arange(height)).ravel()
    sampled: Weight = weight[rows[rows < len(weight)]]
    return sampled


def _from_sorted_groups(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    view = SCHEMES[scheme.name].view(weight.shape, scheme)
    members = view.apply(weight)
    squares = (members**2).sum(axis=(-2, -1), dtype=np.float64).ravel()
    if squares.size == members.size:  # single weights: the order of their scores is that of their squares
        kept, energy = np.arange(1, squares.size + 1), np.cumsum(np.sort(squares)[::-1])
    else:
        real = view.apply(np.ones(weight.shape, np.int32))
        order = np.argsort(-group_scores(members, real).ravel())  # of ties, mostly zeros, any order will do
        kept, energy = np.cumsum(real.sum(axis=(-2, -1)).ravel()[order]), np.cumsum(squares[order])
    points = np.unique(np.linspace(0, squares.size - 1, min(squares.size, RESOLUTION)).round().astype(np.int64))
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


def _from_steps(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    """Of ``block``: weights die step by step, so what is kept before each step is a sum over the later ones."""
    block = Block()
    dies = block.steps(weight, scheme)
    squares = block.view(weight.shape, scheme).apply(weight.astype(np.float64)) ** 2
    real = dies >= 0
    counts = np.bincount(dies[real])
    steps = np.flatnonzero(counts)
    kept = np.cumsum(counts[steps][::-1])[::-1]
    energy = np.cumsum(np.bincount(dies[real], squares[real])[steps][::-1])[::-1]
    total_energy = energy[0] or 1.0

    def at(density: float) -> tuple[float, float]:
        nearest = int(np.argmin(np.abs(kept - density * kept[0])))
        return float(kept[nearest] / kept[0]), float(energy[nearest] / total_energy)

    return at


def _from_kernels(weight: Weight, scheme: SchemeSpec) -> EnergyAt:
    """Of ``pattern``: every filter keeps its so many strongest kernels, 4 weights of each."""
    inputs = weight.shape[1]
    strongest = -np.sort(-pattern_norms(weight).max(-1), axis=1)
    energy = np.cumsum(strongest.sum(axis=0))
    total = float((weight.astype(np.float64) ** 2).sum()) or 1.0

    def at(density: float) -> tuple[float, float]:
        kernels = kernels_kept(inputs, density)
        return 4 * kernels / (9 * inputs), float(energy[kernels - 1] / total)

    return at


_OTHERS = {"block": _from_steps, "pattern": _from_kernels}
"""By scheme; what a mask at that density would keep, without one."""
