"""Curves: latency against density of one layer with one scheme, between the measured points and beyond them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import DENSE, SchemeSpec

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Densities, rising, and the latency in microseconds at each."""
Curves = Mapping[SchemeSpec, Curve]
"""Of one layer."""


def make_curve(by_density: Mapping[float, float]) -> Curve:
    """Return the curve through points given as density: microseconds."""
    densities = sorted(by_density)
    return np.array(densities), np.array([by_density[density] for density in densities])


def latency_at(curves: Curves, scheme: SchemeSpec, density: float) -> float:
    """Return the latency in microseconds, exact at the points of the scheme's curve and linear between them.

    Below the lowest density it stays what it is there (nothing says that it falls on); above the highest it goes on
    with the last slope, from a single point towards the dense layer, and never falls.
    """
    densities, latencies = curves[scheme]
    inside = float(np.interp(density, densities, latencies))
    if density <= densities[-1]:
        return inside
    if len(densities) > 1:
        rise, run = latencies[-1] - latencies[-2], densities[-1] - densities[-2]
    else:
        rise, run = curves.get(DENSE, curves[scheme])[1][-1] - latencies[-1], 1 - densities[-1]
    return inside + max(0.0, float(rise / run)) * (density - float(densities[-1]))
