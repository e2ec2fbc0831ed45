"""A latency table that nobody measured: for benchmarks of what is done with tables, and to try them out.

Latency = 1 µs + MACs · density / MACS_PER_US × what the device makes of the scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSetting
from prunemap.latency import make_probes

MACS_PER_US = 5e4
FACTORS: Mapping[str, float] = {"unstructured": 2.2, "pattern": 1.5, "block:8x4": 1.1, "punched:4x1": 1.15}
"""By scheme; 1 where not given."""
SYNTHETIC = Machine(cpu="synthetic", arch="none", cores=1, system="none")


def synthetic_table(settings: Sequence[LayerSetting]) -> LatencyTable:
    """Return the table with the points that ``profile`` would measure."""
    points = []
    for probe in make_probes(settings):
        macs = probe.setting.macs * probe.density * FACTORS.get(str(probe.scheme), 1.0)
        us = 1 + macs / MACS_PER_US
        points.append(
            LatencyPoint(
                setting=probe.setting,
                scheme=probe.scheme,
                density=probe.density,
                median_us=us,
                p10_us=us,
                p90_us=us,
                runs=1,
            )
        )
    return LatencyTable(machine=SYNTHETIC, threads=1, command="synthetic", points=tuple(points))
