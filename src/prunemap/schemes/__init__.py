"""SCHEMES: every pruning regularity, one file each, torch-free; ``make_mask`` applies one to a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.table import by_name
from prunemap.errors import UserError
from prunemap.schemes.block import Block
from prunemap.schemes.column import Column
from prunemap.schemes.dense import Dense
from prunemap.schemes.filter import Filter
from prunemap.schemes.pattern import Pattern
from prunemap.schemes.punched import Punched
from prunemap.schemes.scheme import Mask, Scheme, group_scores
from prunemap.schemes.unstructured import Unstructured
from prunemap.schemes.view import ArrayOps, NumpyOps, View

__all__ = [
    "SCHEMES",
    "ArrayOps",
    "Mask",
    "NumpyOps",
    "Scheme",
    "View",
    "group_scores",
    "legal_schemes",
    "make_mask",
    "scheme_of",
    "why_illegal",
]

SCHEMES: dict[str, Scheme] = by_name((Dense(), Unstructured(), Filter(), Column(), Pattern(), Punched(), Block()))


def why_illegal(spec: SchemeSpec, weight_shape: Sequence[int], density: float | None = None) -> str | None:
    """Return why a weight of this shape cannot have the scheme (at that density), None if it can."""
    scheme = SCHEMES.get(spec.name)
    if scheme is None:
        return f"scheme {str(spec)!r} is unknown, allowed are {', '.join(SCHEMES)}"
    if scheme.blocked and spec.block is None:
        return f"scheme {str(spec)!r} needs a block size, such as {spec.name}:8x4"
    if not scheme.blocked and spec.block is not None:
        return f"scheme {str(spec)!r} takes no block size, write {spec.name}"
    if density is not None and not 0 < density <= 1:
        return f"density {density:g} is outside (0, 1]"
    if density is not None and density > scheme.max_density + 1e-6:
        return f"scheme {str(spec)!r} allows a density of at most {scheme.max_density:.3g}, got {density:g}"
    return scheme.why_illegal(weight_shape)


def legal_schemes(weight_shape: Sequence[int], specs: Sequence[SchemeSpec]) -> list[SchemeSpec]:
    """Return those of the schemes, dense apart, that a weight of this shape can have.

    Raises:
        UserError: one is wrong whatever the weight: unknown, or with or without a block size where it must not be.
    """
    legal = []
    for spec in specs:
        why = why_illegal(spec, weight_shape)
        if why is None and spec.name != "dense":
            legal.append(spec)
        elif why and (spec.name not in SCHEMES or SCHEMES[spec.name].why_illegal(weight_shape) is None):
            raise UserError(f"schemes: {why}")
    return legal


def scheme_of(spec: SchemeSpec, weight_shape: Sequence[int], density: float | None = None) -> Scheme:
    """Return the scheme that ``spec`` names.

    Raises:
        UserError: it is unknown, or a weight of this shape (at this density) cannot have it.
    """
    why = why_illegal(spec, weight_shape, density)
    if why is not None:
        raise UserError(f"scheme for a weight of shape {list(weight_shape)}: {why}")
    return SCHEMES[spec.name]


def make_mask(weight: NDArray[np.floating[Any]], spec: SchemeSpec, density: float) -> Mask:
    """Return the mask (True = kept) that prunes ``weight`` by magnitude.

    Args:
        weight: (O, I, Kh, Kw), (O, I, K) or (O, I).
        density: kept / all weights, in (0, 1]; met to within one group of the scheme.

    Raises:
        UserError: a weight of this shape cannot have the scheme at this density.
    """
    return scheme_of(spec, weight.shape, density).keep(weight, spec, density)
