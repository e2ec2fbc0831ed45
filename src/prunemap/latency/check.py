"""Held-out points: what the table predicts where it has no point, beside a new measurement."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value
from prunemap.latency.measure import ProbeTimer, split_batches
from prunemap.latency.predict import Predictor
from prunemap.latency.probe import LARGE_WEIGHTS, Probe


class PointCheck(Value):
    """A point, predicted and measured, both at the speed of the machine that the table is of."""

    setting: LayerSetting
    scheme: SchemeSpec
    density: float
    predicted_us: float
    measured_us: float

    @property
    def error(self) -> float:
        """predicted / measured − 1."""
        return self.predicted_us / self.measured_us - 1


def held_out_probes(table: LatencyTable, count: int, seed: int = 0) -> list[Probe]:
    """Return a sample of cases between the measured densities: the geometric mean of two neighbours."""
    densities: dict[tuple[LayerSetting, SchemeSpec], list[float]] = {}
    for point in table.points:
        densities.setdefault((point.setting, point.scheme), []).append(point.density)
    between = [
        Probe(setting, scheme, round((low * high) ** 0.5, 4))
        for (setting, scheme), found in densities.items()
        if np.prod(setting.weight_shape) <= LARGE_WEIGHTS
        for low, high in pairwise(sorted(found))
    ]
    chosen = np.random.default_rng(seed).permutation(len(between))[:count]
    return [between[i] for i in sorted(chosen.tolist())]


def check_densities(table: LatencyTable, timer: ProbeTimer, count: int, seed: int = 0) -> list[PointCheck]:
    """Measure a sample of held-out densities; nothing is added to the table."""
    predictor, anchor_us = Predictor(table), table.anchor_us
    found = []
    for batch in split_batches(held_out_probes(table, count, seed)):
        times = timer.prepare(batch)()
        scale = anchor_us / (float(np.median(times.anchor_seconds)) * 1e6) if anchor_us else 1.0
        for probe, median in zip(batch, np.median(times.seconds, axis=0).tolist(), strict=True):
            predicted = predictor.latency_us(probe.setting, probe.scheme, probe.density)
            found.append(_check(probe, predicted, scale * median * 1e6))
    return found


def check_settings(table: LatencyTable) -> list[PointCheck]:
    """Estimate every measured point from the other settings of its family; those that have too few are left out."""
    predictor = Predictor(table)
    found = []
    for point in table.points:
        estimated = predictor.estimator.latency_us(point.setting, point.scheme, point.density)
        if estimated is not None:
            probe = Probe(point.setting, point.scheme, point.density)
            found.append(_check(probe, estimated, point.at_anchor(table.anchor_us)))
    return found


def _check(probe: Probe, predicted_us: float, measured_us: float) -> PointCheck:
    return PointCheck(
        setting=probe.setting,
        scheme=probe.scheme,
        density=probe.density,
        predicted_us=predicted_us,
        measured_us=measured_us,
    )
