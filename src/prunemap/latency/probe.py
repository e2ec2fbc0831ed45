"""Which cases to measure: the distinct layer settings of a network × legal schemes × a few densities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.schemes import SCHEMES, legal_schemes, make_mask

_PUNCHED = tuple(f"punched:{size}" for size in ("2x1", "4x1", "8x4", "16x4"))
DEFAULT_SCHEMES = tuple(map(SchemeSpec.parse, ("unstructured", "pattern", *_PUNCHED, "block:8x4", "filter")))
DEFAULT_DENSITIES = (0.05, 0.2, 0.5)
"""Latency is close to a + b·density for a fixed scheme, so few densities are enough."""
LARGE_WEIGHTS = 1 << 25
"""A layer with more weights, such as the first linear one of VGG-16, takes up to half a minute per case. It is measured
with one block size per scheme, at the lowest and the highest density only."""


@dataclass(frozen=True)
class Probe:
    """One case to measure; the key of a point in a latency table."""

    setting: LayerSetting
    scheme: SchemeSpec
    density: float
    """Kept weights / all weights as asked for; the mask meets it to within one group of the scheme."""

    def weight(self, seed: int = 0) -> NDArray[np.float32]:
        """Return a random weight with the scheme's zeros, shape ``setting.weight_shape``, unit output variance."""
        shape = self.setting.weight_shape
        weight = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        weight *= np.float32(1 / np.sqrt(prod(shape[1:])))
        return weight * make_mask(weight, self.scheme, self.density)

    def __str__(self) -> str:
        return f"{self.setting} {self.scheme}@{self.density:g}"


def make_probes(
    settings: Iterable[LayerSetting],
    schemes: Sequence[SchemeSpec] = DEFAULT_SCHEMES,
    densities: Sequence[float] = DEFAULT_DENSITIES,
) -> list[Probe]:
    """Return the cases for the distinct settings, dense first, then every scheme that is legal for the layer.

    Depthwise layers take the schemes without blocks: their filters read no channel together. A scheme with a largest
    density (pattern) is measured there instead of above.

    Raises:
        UserError: an unknown scheme, a density outside (0, 1], or no density.
    """
    for density in densities:
        if not 0 < density <= 1:
            raise UserError(f"densities: got {density:g}, allowed are values in (0, 1]")
    if not densities:
        raise UserError("densities: got none, at least one is needed")
    probes: dict[Probe, None] = {}
    for setting in settings:
        probes[Probe(setting, DENSE, 1.0)] = None
        is_large = prod(setting.weight_shape) > LARGE_WEIGHTS
        legal = _legal(setting, schemes)
        for scheme in {scheme.name: scheme for scheme in legal}.values() if is_large else legal:
            largest = SCHEMES[scheme.name].max_density
            wanted = (min(densities), max(densities)) if is_large else densities
            for density in sorted({round(min(density, largest), 4) for density in wanted}):
                probes[Probe(setting, scheme, density)] = None
    return list(probes)


def _legal(setting: LayerSetting, schemes: Sequence[SchemeSpec]) -> list[SchemeSpec]:
    """Return the schemes, dense apart, that a layer of this setting is measured with."""
    if setting.kind == "depthwise":
        schemes = [scheme for scheme in schemes if scheme.block is None]
    return legal_schemes(setting.weight_shape, schemes)


def probe_settings(settings: Iterable[LayerSetting | None]) -> list[LayerSetting]:
    """Return the distinct settings in order of appearance, without the layers whose latency is not modelled."""
    return list(dict.fromkeys(setting for setting in settings if setting is not None))
