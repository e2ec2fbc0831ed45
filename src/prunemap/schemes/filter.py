"""filter: a whole filter (output row) lives or dies."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes.scheme import GroupScheme
from prunemap.schemes.view import View


class Filter(GroupScheme):
    """Groups are the O filters; the score of a filter is its L2 norm."""

    name = "filter"

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        matrix = (weight_shape[0], prod(weight_shape[1:]))
        return View(shape=matrix, padding=(0, 0), split=matrix, axes=(0, 1), groups=matrix[:1], members=(matrix[1], 1))
