"""Inspection: what a model is made of and what of it cannot be compiled yet."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from prunemap.core.layer import LayerKind
from prunemap.core.scheme_spec import SchemeSpec


class InspectedLayer(BaseModel):
    """A weight-carrying node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class UnsupportedNode(BaseModel):
    """A node that cannot be compiled yet, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    op: str
    why: str


class Inspection(BaseModel):
    """What ``prunemap inspect --json`` prints; layers in graph order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    layers: tuple[InspectedLayer, ...]
    unsupported: tuple[UnsupportedNode, ...]
