"""dense: every weight is kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes.scheme import Mask, Scheme
from prunemap.schemes.view import View


class Dense(Scheme):
    """One group, the whole layer; the density is 1 whatever is asked for."""

    name = "dense"

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        matrix = (weight_shape[0], prod(weight_shape[1:]))
        return View(shape=matrix, padding=(0, 0), split=matrix, axes=(0, 1), groups=(1,), members=matrix)

    def keep(self, weight: NDArray[np.floating[Any]], spec: SchemeSpec, density: float) -> Mask:
        return np.ones(weight.shape, dtype=bool)
