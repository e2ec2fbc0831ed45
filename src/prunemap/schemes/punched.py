"""punched:FxC: in a block of F filters × C channels a kernel position is kept or pruned for all kernels at once.

For 1x1 convolutions and linear layers that is the whole F×C block. Source: YOLObile (AAAI 2021) and its code.
"""

from __future__ import annotations

from collections.abc import Sequence

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import InternalError
from prunemap.schemes.scheme import GroupScheme
from prunemap.schemes.view import View, blocked_view


class Punched(GroupScheme):
    """Groups = (O/F, I/C, K); the last block of a row or column may be smaller."""

    name = "punched"
    blocked = True

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        if spec.block is None:
            raise InternalError("punched needs a block size")
        return blocked_view(weight_shape, *spec.block)
