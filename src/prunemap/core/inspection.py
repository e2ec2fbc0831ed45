"""Inspection: what a model is made of and what of it cannot be compiled yet."""

from __future__ import annotations

from prunemap.core.layer import LayerKind
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value


class InspectedLayer(Value):
    """A weight-carrying node."""

    name: str
    kind: LayerKind
    weight_shape: tuple[int, ...]
    macs: int
    """Multiply-accumulates of one image, dense."""
    params: int
    density: float
    """Non-zero weights / all."""
    structure: SchemeSpec
    """The coarsest scheme that the zeros follow exactly."""


class UnsupportedNode(Value):
    """A node that cannot be compiled yet, and why."""

    name: str
    op: str
    why: str


class NotFinite(Value):
    """Stored weights with values that are no numbers; a model that has them cannot be compiled."""

    tensor: str
    node: str
    """That reads it."""
    nan: int
    infinite: int
    size: int
    """All of its values."""


class Inspection(Value):
    """What ``prunemap inspect --json`` prints; layers in graph order."""

    model: str
    layers: tuple[InspectedLayer, ...]
    unsupported: tuple[UnsupportedNode, ...]
    not_finite: tuple[NotFinite, ...] = ()
