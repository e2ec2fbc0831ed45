"""A latency table that nobody measured, for tests of what is done with one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.latency import DEFAULT_SCHEMES, make_probes


def made_up_table(
    settings: Iterable[LayerSetting | None],
    factors: Mapping[str, float] = MappingProxyType({}),
    schemes: Sequence[SchemeSpec] = DEFAULT_SCHEMES,
) -> LatencyTable:
    """Latency = 1 µs + MACs · density / 50,000 × the factor of the scheme, or of its name; 1 where none is given."""
    points = []
    for probe in make_probes((setting for setting in settings if setting is not None), schemes):
        factor = factors.get(str(probe.scheme), factors.get(probe.scheme.name, 1.0))
        us = 1 + probe.setting.macs * probe.density * factor / 5e4
        points.append(
            LatencyPoint(
                setting=probe.setting,
                scheme=probe.scheme,
                density=probe.density,
                median_us=us,
                p10_us=us,
                p90_us=us,
                runs=9,
            )
        )
    machine = Machine(cpu="made up", arch="none", cores=1, system="none")
    return LatencyTable(machine=machine, threads=1, points=tuple(points))
