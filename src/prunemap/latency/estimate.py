"""Estimates: a layer that was not measured, from measured ones of its family.

A family is what runs alike: kind, kernel, stride, dilation and groups. Inside it the logarithm of the time per
multiply-accumulate is taken as a plane over the logarithms of inputs, outputs and uses (pixels, vectors): tiles are
worth more on larger maps and with more filters, and that changes slowly. The plane is fitted to the nearest measured
settings, the nearer the more; a slope has to earn its way (ridge), so few neighbours mean their mean rate.

Density is not fitted: every neighbour gives its own latency at the density asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec

NEIGHBOURS, LEAST_NEIGHBOURS = 10, 3
NEAR = 0.25
"""Squared distance, in powers of e, within which a neighbour counts about fully."""
RIDGE = 0.1
Family = tuple[object, ...]
LatencyOf = Callable[[LayerSetting, SchemeSpec, float], float]
"""Measured, in microseconds."""


@dataclass
class Estimator:
    """Estimates settings from the measured ones; errors are worked out when they are asked for."""

    measured: Mapping[LayerSetting, Mapping[SchemeSpec, NDArray[np.float64]]]
    """Densities measured, by setting and scheme."""
    latency_of: LatencyOf
    _neighbours: dict[tuple[LayerSetting, SchemeSpec], list[LayerSetting]] = field(default_factory=dict)
    _errors: dict[tuple[Family, SchemeSpec], float] = field(default_factory=dict)

    def neighbours(self, setting: LayerSetting, scheme: SchemeSpec) -> list[LayerSetting]:
        """Return the measured settings to go by, the nearest first; none if they are too few."""
        if (setting, scheme) not in self._neighbours:
            family, at = family_of(setting), features(setting)
            found = [
                each
                for each, schemes in self.measured.items()
                if each != setting and scheme in schemes and family_of(each) == family
            ]
            found.sort(key=lambda each: float(np.square(features(each) - at).sum()))
            self._neighbours[setting, scheme] = found[:NEIGHBOURS] if len(found) >= LEAST_NEIGHBOURS else []
        return self._neighbours[setting, scheme]

    def schemes(self, setting: LayerSetting) -> tuple[SchemeSpec, ...]:
        """Return the schemes that can be estimated."""
        family = family_of(setting)
        near = [schemes for each, schemes in self.measured.items() if family_of(each) == family]
        return tuple(
            scheme
            for scheme in dict.fromkeys(scheme for schemes in near for scheme in schemes)
            if self.neighbours(setting, scheme)
        )

    def latency_us(self, setting: LayerSetting, scheme: SchemeSpec, density: float) -> float | None:
        """Return the estimate; None where too few settings were measured."""
        near = self.neighbours(setting, scheme)
        if not near:
            return None
        at = features(setting)
        x = np.stack([features(each) for each in near]) - at
        y = np.log([self.latency_of(each, scheme, density) / each.macs for each in near])
        weights = 1 / (NEAR + np.square(x).sum(1))
        columns = np.column_stack([np.ones(len(near)), x])
        penalty = RIDGE * weights.sum() * np.diag([0.0, *np.ones(x.shape[1])])
        rate = np.linalg.solve(columns.T @ (weights[:, None] * columns) + penalty, columns.T @ (weights * y))[0]
        return float(np.exp(rate)) * setting.macs

    def error(self, setting: LayerSetting, scheme: SchemeSpec) -> float:
        """Return the mean |estimated / measured − 1| in the setting's family, each estimated from the others."""
        key = family_of(setting), scheme
        if key not in self._errors:
            errors = [
                abs(estimated / self.latency_of(each, scheme, density) - 1)
                for each, schemes in self.measured.items()
                if family_of(each) == key[0]
                for density in schemes.get(scheme, np.empty(0)).tolist()
                if (estimated := self.latency_us(each, scheme, density)) is not None
            ]
            self._errors[key] = float(np.mean(errors)) if errors else float("inf")
        return self._errors[key]


def family_of(setting: LayerSetting) -> Family:
    """Return what settings must share to be estimated from each other."""
    groups = 1 if setting.kind == "depthwise" else setting.groups
    return setting.kind, setting.kernel, setting.stride, setting.dilation, groups, setting.reset_after


def features(setting: LayerSetting) -> NDArray[np.float64]:
    """Return where a setting lies in its family: logarithms of inputs per group, outputs and uses."""
    return np.log([setting.in_channels / setting.groups, setting.out_channels, setting.uses])
