"""profile: a latency table for the layers of some models on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prunemap.compiler import read_specs
from prunemap.core import LatencyTable, SchemeSpec
from prunemap.latency.measure import LocalTimer, measure
from prunemap.latency.probe import DEFAULT_DENSITIES, DEFAULT_SCHEMES, make_probes, probe_settings


def profile_models(
    models: Sequence[str | Path],
    output: str | Path,
    *,
    schemes: Sequence[SchemeSpec] = DEFAULT_SCHEMES,
    densities: Sequence[float] = DEFAULT_DENSITIES,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    timer: LocalTimer | None = None,
    command: str = "",
) -> LatencyTable:
    """Measure every distinct layer setting of the models × scheme × density that the table at ``output`` lacks.

    Args:
        timer: where and how to measure; None = this machine, one thread.
        command: what the user typed, for the record.

    Raises:
        UserError: a model cannot be read, a scheme or density is not allowed, or the table is of another machine.
    """
    specs = [spec for model in models for spec in read_specs(model, shapes)]
    probes = make_probes(probe_settings(spec.setting for spec in specs), schemes, densities)
    return measure(probes, output, timer or LocalTimer(), command)
