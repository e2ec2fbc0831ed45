"""Predictor: latency of a layer at any density, between and beyond the measured points, and of a network's glue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean

from prunemap.core.latency_table import LatencyTable, NetworkTimes
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import Problems, UserError
from prunemap.latency.curves import Curve, Curves, latency_at, make_curve
from prunemap.latency.estimate import Estimator
from prunemap.schemes import why_illegal

MOST_CONTEXT = 1.5
"""How many times longer (or shorter) a pruned layer is taken to run in its network than alone."""


class Predictor:
    """Piecewise-linear interpolation of a latency table, exact at the measured points; see :func:`latency_at`.

    Where the table has anchors, all times are brought to the speed of the machine at which their median was taken.

    Args:
        network: settings of a network's layers, in graph order. If the table has it, latencies are those inside it:
            what a dense layer took there / alone, reading a residual sum say, holds for it pruned too.
        graph_sha256: of that network's graph; "" = any with such layers may be it.
        estimate: whether settings that were not measured are estimated from others.
    """

    def __init__(
        self,
        table: LatencyTable,
        network: Sequence[LayerSetting | None] = (),
        *,
        graph_sha256: str = "",
        estimate: bool = False,
    ) -> None:
        self.table = table
        anchor_us = table.anchor_us
        points: dict[LayerSetting, dict[SchemeSpec, dict[float, float]]] = {}
        for point in table.points:
            of_setting = points.setdefault(point.setting, {}).setdefault(point.scheme, {})
            of_setting[point.density] = point.at_anchor(anchor_us)
        self._curves: dict[LayerSetting, dict[SchemeSpec, Curve]] = {
            setting: {scheme: make_curve(by_density) for scheme, by_density in schemes.items()}
            for setting, schemes in points.items()
        }
        self.estimator = Estimator(self._curves)
        self._estimate = estimate
        self._estimated: dict[LayerSetting, dict[SchemeSpec, Curve]] = {}
        found = table.network(network, graph_sha256)
        scale = anchor_us / found.anchor_us if found and anchor_us and found.anchor_us else 1.0
        self._in_network = {} if found is None else self._context(found, scale)
        self.glue_us = scale * sum(slot.median_us for slot in found.glue) if found else 0.0
        """What the network takes beside its layers, in microseconds; 0 where the table does not have it."""
        self.has_network = found is not None

    def schemes(self, setting: LayerSetting) -> tuple[SchemeSpec, ...]:
        """Return the schemes measured for a setting, or that can be estimated where that is allowed; dense apart."""
        return tuple(scheme for scheme in self._curves_of(setting) if scheme != DENSE)

    def lowest_density(self, setting: LayerSetting, scheme: SchemeSpec) -> float:
        """Return the lowest density at which the scheme was measured, with the nearest settings if not with this."""
        return float(self._curves_of(setting)[scheme][0][0])

    def dense_us(self, setting: LayerSetting) -> float:
        """Return the latency of the dense layer in microseconds."""
        return self.latency_us(setting, DENSE, 1.0)

    def latency_us(self, setting: LayerSetting, scheme: SchemeSpec, density: float) -> float:
        """Return the latency of one layer in microseconds, inside the network if that is known.

        Raises:
            UserError: the setting was not measured with this scheme, and cannot or must not be estimated.
        """
        context = self._in_network.get(setting, 1.0)
        if scheme != DENSE:
            context = min(max(context, 1 / MOST_CONTEXT), MOST_CONTEXT)
        return context * self._alone_us(setting, scheme, density)

    def describe_estimates(self, settings: Iterable[LayerSetting | None]) -> list[str]:
        """Return which settings are estimated: a line per error that they have, dense and as the scheme that is worst.

        A last line says which of them lie far beyond what was measured, where that error says little.
        """
        by_error: dict[str, list[str]] = {}
        beyond = []
        for setting in dict.fromkeys(settings):
            if setting is None or not self._estimates(setting):
                continue
            estimated = self._curves_of(setting).keys() - self._curves.get(setting, {}).keys()
            errors = {scheme: self.estimator.error(setting, scheme) for scheme in sorted(estimated, key=str)}
            worst = max(errors, key=errors.__getitem__)
            how = f"±{errors[DENSE]:.0%} dense, ±{errors[worst]:.0%} as {worst}, the worst"
            by_error.setdefault(how, []).append(str(setting))
            if where := self.estimator.beyond(setting):
                beyond.append(f"{setting} ({where})")
        lines = [f"not measured, estimated from others to about {how}: {'; '.join(of)}" for how, of in by_error.items()]
        return [*lines, f"less sure, beyond what was measured: {'; '.join(beyond)}"] if beyond else lines

    def require(self, settings: Iterable[LayerSetting]) -> None:
        """Check that every setting was measured dense, or can be estimated where that is allowed.

        Raises:
            UserError: some were not; lists them and the command that adds them.
        """
        rather = "there are too few of their kind for an estimate" if self._estimate else "or estimate them: --estimate"
        problems = Problems(
            f"latency table: it lacks layers of this model; add them with `{self.table.profile_command()}`; {rather}"
        )
        for setting in dict.fromkeys(settings):
            known = DENSE in self._curves.get(setting, {})
            if not known and not (self._estimate and self.estimator.neighbours(setting, DENSE)):
                problems.add(str(setting))
        problems.raise_if_any()

    def _context(self, network: NetworkTimes, scale: float) -> dict[LayerSetting, float]:
        """Return the mean time of the network's layers of each setting / the time of the dense layer alone."""
        times: dict[LayerSetting, list[float]] = {}
        for layer in network.layers:
            if layer.setting is not None and layer.median_us > 0:
                times.setdefault(layer.setting, []).append(scale * layer.median_us)
        known = [setting for setting in times if DENSE in self._curves_of(setting)]
        return {setting: mean(times[setting]) / self._alone_us(setting, DENSE, 1.0) for setting in known}

    def _estimates(self, setting: LayerSetting) -> bool:
        return self._estimate and DENSE not in self._curves.get(setting, {})

    def _curves_of(self, setting: LayerSetting) -> Curves:
        """Return what was measured of a setting and, where that is allowed, estimates of what its kind can have."""
        measured = self._curves.get(setting, {})
        if not self._estimates(setting):
            return measured
        if setting not in self._estimated:
            schemes = (each for each in self.estimator.schemes(setting) if _may_have(setting, each))
            self._estimated[setting] = {each: self.estimator.curve(setting, each) for each in schemes} | measured
        return self._estimated[setting]

    def _alone_us(self, setting: LayerSetting, scheme: SchemeSpec, density: float) -> float:
        curves = self._curves_of(setting)
        if scheme not in curves:
            self.require([setting])
            raise UserError(
                f"latency table: {setting} was not measured as {scheme}; add it with "
                f"`{self.table.profile_command(schemes=str(scheme))}`"
            )
        return latency_at(curves, scheme, density)


def _may_have(setting: LayerSetting, scheme: SchemeSpec) -> bool:
    return scheme == DENSE or why_illegal(scheme, setting.weight_shape) is None
