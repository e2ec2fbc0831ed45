"""column: one input channel × kernel position over all filters."""

from __future__ import annotations

from collections.abc import Sequence

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes.scheme import GroupScheme
from prunemap.schemes.view import View, blocked_view


class Column(GroupScheme):
    """Groups are the I·K columns of the (O, I·K) matrix: one block of all filters × one channel."""

    name = "column"

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        return blocked_view(weight_shape, weight_shape[0], 1)
