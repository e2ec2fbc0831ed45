"""Wiring: how the layers of a network hang together, by the names of their ONNX nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class ChannelSource:
    """Layers whose filters are input channels of another one."""

    layers: frozenset[str]
    """Where there are several, their outputs are added: a channel is gone when all of them lost it."""
    part: float
    """Of the input channels of the other one, in (0, 1]."""


@dataclass(frozen=True)
class Wiring:
    """Who shares filters, and who reads whose."""

    coupled: tuple[frozenset[str], ...] = ()
    """Layers whose outputs meet in a residual addition, so that they share one choice of ``filter``; disjoint sets."""
    sources: Mapping[str, tuple[ChannelSource, ...]] = field(default_factory=dict)
    """Of the layers whose input channels are filters of others, a depthwise layer too."""

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """The layers that read filters of a layer."""
        found: dict[str, tuple[str, ...]] = {}
        for reader, sources in self.sources.items():
            for name in frozenset[str]().union(*(source.layers for source in sources)):
                found[name] = (*found.get(name, ()), reader)
        return found

    def inputs_left(self, filters: Mapping[str, float], readers: Collection[str] | None = None) -> dict[str, float]:
        """Return the share of the input channels that is left of each layer that lost some.

        Args:
            filters: the share kept of the layers that lost filters.
            readers: who is looked at; None = all.
        """
        left = {}
        for reader in self.sources.keys() if readers is None else readers:
            lost = sum(
                source.part * (1 - max(filters.get(name, 1.0) for name in source.layers))
                for source in self.sources.get(reader, ())
            )
            if lost > 0:
                left[reader] = 1 - lost
        return left
