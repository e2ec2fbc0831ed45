"""Predictor: latency of a layer at any density, between and beyond the measured points."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import Problems, UserError

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Densities, rising, and the latency in microseconds at each."""


class Predictor:
    """Piecewise-linear interpolation of a latency table, exact at the measured points.

    Below the lowest measured density the latency stays what it is there (nothing says that it falls on); above the
    highest it goes on with the last slope.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        points: dict[LayerSetting, dict[SchemeSpec, dict[float, float]]] = {}
        for point in table.points:
            points.setdefault(point.setting, {}).setdefault(point.scheme, {})[point.density] = point.median_us
        self._curves: dict[LayerSetting, dict[SchemeSpec, Curve]] = {
            setting: {scheme: _curve(by_density) for scheme, by_density in schemes.items()}
            for setting, schemes in points.items()
        }

    def schemes(self, setting: LayerSetting) -> tuple[SchemeSpec, ...]:
        """Return the schemes measured for a setting, dense apart."""
        return tuple(scheme for scheme in self._curves.get(setting, {}) if scheme != DENSE)

    def lowest_density(self, setting: LayerSetting, scheme: SchemeSpec) -> float:
        """Return the lowest density at which the scheme was measured."""
        return float(self._curve_of(setting, scheme)[0][0])

    def dense_us(self, setting: LayerSetting) -> float:
        """Return the latency of the dense layer in microseconds."""
        return self.latency_us(setting, DENSE, 1.0)

    def latency_us(self, setting: LayerSetting, scheme: SchemeSpec, density: float) -> float:
        """Return the latency of one layer in microseconds.

        Raises:
            UserError: the setting was not measured with this scheme.
        """
        densities, latencies = self._curve_of(setting, scheme)
        inside = float(np.interp(density, densities, latencies))
        if density <= densities[-1] or len(densities) == 1:
            return inside
        slope = (latencies[-1] - latencies[-2]) / (densities[-1] - densities[-2])
        return inside + max(0.0, float(slope)) * (density - float(densities[-1]))

    def require(self, settings: Iterable[LayerSetting]) -> None:
        """Check that every setting was measured dense.

        Raises:
            UserError: some were not; lists them and the command that adds them.
        """
        problems = Problems(
            "latency table: it lacks layers of this model; add them with "
            f"`prunemap profile MODEL.onnx --threads {self.table.threads} -o LATENCY.json`"
        )
        problems.extend(str(s) for s in dict.fromkeys(settings) if DENSE not in self._curves.get(s, {}))
        problems.raise_if_any()

    def _curve_of(self, setting: LayerSetting, scheme: SchemeSpec) -> Curve:
        curve = self._curves.get(setting, {}).get(scheme)
        if curve is None:
            self.require([setting])
            raise UserError(
                f"latency table: {setting} was not measured as {scheme}; add it with "
                f"`prunemap profile MODEL.onnx --schemes {scheme} --threads {self.table.threads} -o LATENCY.json`"
            )
        return curve


def _curve(by_density: dict[float, float]) -> Curve:
    densities = sorted(by_density)
    return np.array(densities), np.array([by_density[density] for density in densities])
