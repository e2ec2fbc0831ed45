"""Estimates: a layer that was not measured, from measured ones of its family.

A family is what runs alike: kind, kernel, stride, dilation and groups. Inside it the logarithm of the time per
multiply-accumulate is taken as a plane over the logarithms of inputs, outputs and uses (pixels, vectors): tiles are
worth more on larger maps and with more filters, and that changes slowly. The plane is fitted to the nearest measured
settings, the nearer the more; a slope has to earn its way (ridge), so few neighbours mean their mean rate.

Density is not fitted: every neighbour gives its own latency at the density asked for, and the fit comes down to a
weight for each of them, the same at all densities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.latency.curves import Curve, Curves, latency_at

NEIGHBOURS, LEAST_NEIGHBOURS = 10, 3
NEAR = 0.25
"""Squared distance, in powers of e, within which a neighbour counts about fully."""
RIDGE = 0.1
FEATURES = ("inputs", "outputs", "pixels or vectors")
"""Names of :func:`features`."""
FAR = 2.0
"""From so many times the largest measured on, and below the smallest divided by it, an estimate is far off."""
Family = tuple[object, ...]


@dataclass
class Estimator:
    """Estimates settings from the measured ones; errors are worked out when they are asked for."""

    measured: Mapping[LayerSetting, Curves]
    _neighbours: dict[tuple[LayerSetting, SchemeSpec], list[LayerSetting]] = field(default_factory=dict)
    _weights: dict[tuple[LayerSetting, SchemeSpec], NDArray[np.float64]] = field(default_factory=dict)
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

    def curve(self, setting: LayerSetting, scheme: SchemeSpec) -> Curve:
        """Return the estimates at the densities at which its neighbours were measured, from where all of them were on.

        Raises:
            ValueError: it has no neighbours.
        """
        measured = [self.measured[each][scheme][0] for each in self.neighbours(setting, scheme)]
        densities = np.unique(np.concatenate(measured))
        densities = densities[densities >= max(each[0] for each in measured)]
        return densities, np.array([self.latency_us(setting, scheme, each) for each in densities.tolist()])

    def latency_us(self, setting: LayerSetting, scheme: SchemeSpec, density: float) -> float | None:
        """Return the estimate; None where too few settings were measured."""
        near = self.neighbours(setting, scheme)
        if not near:
            return None
        rates = np.log([latency_at(self.measured[each], scheme, density) / each.macs for each in near])
        return float(np.exp(self._weights_of(setting, scheme) @ rates)) * setting.macs

    def _weights_of(self, setting: LayerSetting, scheme: SchemeSpec) -> NDArray[np.float64]:
        """Return the share of each neighbour in the logarithm of the time per multiply-accumulate; the sum is 1."""
        if (setting, scheme) not in self._weights:
            x = np.stack([features(each) for each in self.neighbours(setting, scheme)]) - features(setting)
            nearness = 1 / (NEAR + np.square(x).sum(1))
            columns = np.column_stack([np.ones(len(x)), x])
            weighted = nearness * columns.T
            penalty = RIDGE * nearness.sum() * np.diag([0.0, *np.ones(x.shape[1])])
            self._weights[setting, scheme] = np.linalg.solve(weighted @ columns + penalty, weighted)[0]
        return self._weights[setting, scheme]

    def beyond(self, setting: LayerSetting) -> str:
        """Return in what a setting lies far outside of its family's measured range; "" if in nothing."""
        family = family_of(setting)
        known = np.exp(np.stack([features(each) for each in self.measured if family_of(each) == family])).round()
        ranges = zip(FEATURES, np.exp(features(setting)).round(), known.min(0), known.max(0), strict=True)
        return ", ".join(
            f"{name} {own:.0f}, not {low:.0f} to {high:.0f}"
            for name, own, low, high in ranges
            if own > FAR * high or own < low / FAR
        )

    def error(self, setting: LayerSetting, scheme: SchemeSpec) -> float:
        """Return the mean |estimated / measured − 1| in the setting's family, each estimated from the others."""
        key = family_of(setting), scheme
        if key not in self._errors:
            errors = [
                abs(estimated / latency_at(self.measured[each], scheme, density) - 1)
                for each, schemes in self.measured.items()
                if scheme in schemes and family_of(each) == key[0]
                for density in schemes[scheme][0].tolist()
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
