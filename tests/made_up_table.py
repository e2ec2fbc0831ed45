"""A latency table that nobody measured, for tests of what is done with one."""

from __future__ import annotations

from collections.abc import Iterable

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSpec
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.latency import make_probes


def made_up_table(specs: Iterable[LayerSpec]) -> LatencyTable:
    """Latency = 1 µs + MACs · density / 50,000, of two schemes; measuring a real one takes a minute."""
    points = []
    for probe in make_probes(
        (s.setting for s in specs if s.setting), [SchemeSpec("unstructured"), SchemeSpec("filter")]
    ):
        us = 1 + probe.setting.macs * probe.density / 5e4
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
