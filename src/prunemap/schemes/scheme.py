"""Scheme: a view × a keep rule; :func:`prunemap.schemes.make_mask` makes masks of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes.view import NUMPY, View

Mask = NDArray[np.bool_]


class Scheme(ABC):
    """One pruning regularity. Stateless; weights are (O, I, Kh, Kw), (O, I, K) or (O, I)."""

    name: ClassVar[str]
    blocked: ClassVar[bool] = False
    """Whether the scheme is written with a block size, ``name:RxC``."""
    max_density: ClassVar[float] = 1.0

    def why_illegal(self, weight_shape: Sequence[int]) -> str | None:
        """Return why a weight of this shape cannot have the scheme, None if it can."""
        return None

    @abstractmethod
    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        """Return which weights live or die together."""

    @abstractmethod
    def keep(self, weight: NDArray[np.floating[Any]], spec: SchemeSpec, density: float) -> Mask:
        """Return the mask (True = kept, shape of ``weight``) that keeps a share ``density`` of the weights."""


class GroupScheme(Scheme):
    """A scheme that keeps the groups of its view with the largest score."""

    def keep(self, weight: NDArray[np.floating[Any]], spec: SchemeSpec, density: float) -> Mask:
        view = self.view(weight.shape, spec)
        real = view.apply(np.ones(weight.shape, dtype=np.int64))
        kept = keep_best(group_scores(view.apply(weight), real), real.sum(axis=(-2, -1)), density)
        mask: Mask = view.restore(kept, weight.shape, NUMPY)
        return np.array(mask, order="C")  # a copy: what was spread over a group cannot be written to


def group_scores(members: Any, real: Any) -> Any:
    """Score of each group: mean over its channels of the root mean square over its filters.

    For groups of one size this is the score of the published code (YOLObile: sum over channels of the L2 norm over
    filters) up to a factor; the means let the smaller last blocks compete fairly.

    Args:
        members: (…, filters, channels) weights, NumPy or torch.
        real: the same shape, 1 where there is a weight, 0 where there is padding.
    """
    filters = real.sum(-2)
    mean_square = (members**2).sum(-2) / filters.clip(1)
    return (mean_square**0.5).sum(-1) / (filters > 0).sum(-1)


def keep_best(scores: NDArray[Any], sizes: NDArray[np.int64], density: float) -> Mask:
    """Keep groups by falling score until the kept weights are closest to ``density`` of all; at least one group.

    Ties are broken by position, so the result is deterministic.
    """
    flat, ordered = scores.ravel(), sizes.ravel()
    if (ordered != ordered[0]).any():  # else their order says nothing, and to sort millions takes long
        ordered = ordered[np.argsort(-flat, kind="stable")]
    kept_weights = np.cumsum(ordered)
    count = int(np.argmin(np.abs(kept_weights - density * kept_weights[-1]))) + 1
    return _largest(flat, count).reshape(scores.shape)


def _largest(scores: NDArray[Any], count: int) -> Mask:
    """Return where the ``count`` largest are; of equal ones the first."""
    least = np.partition(scores, -count)[-count]
    mask: Mask = scores > least
    mask[np.flatnonzero(scores == least)[: count - np.count_nonzero(mask)]] = True
    return mask
