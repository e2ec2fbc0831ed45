"""ModelEntry: one row of the MODELS table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn

Options = Mapping[str, float]
"""Option name → value, such as {"width": 0.5}."""


@dataclass(frozen=True)
class ModelEntry:
    """A network that prunemap can build.

    ``make(in_channels, classes, **options)`` returns it with fresh weights; ``options`` are their defaults.
    """

    name: str
    input_size: int
    """Pixels per side that the network is made for."""
    make: Callable[..., nn.Module]
    options: Options = field(default_factory=lambda: MappingProxyType({"width": 1.0}))
