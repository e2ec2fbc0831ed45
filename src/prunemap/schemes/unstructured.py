"""unstructured: every weight on its own (= punched:1x1)."""

from __future__ import annotations

from collections.abc import Sequence

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes.scheme import GroupScheme
from prunemap.schemes.view import View, blocked_view


class Unstructured(GroupScheme):
    """Groups of one weight."""

    name = "unstructured"

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        return blocked_view(weight_shape, 1, 1)
