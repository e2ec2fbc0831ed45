"""profile: the layers of some networks, measured on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prunemap.compiler import read_specs
from prunemap.core.latency_table import LatencyTable
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.latency.measure import LocalTimer, ProbeTimer, measure
from prunemap.latency.probe import DEFAULT_DENSITIES, DEFAULT_SCHEMES, make_probes, probe_settings


def profile_models(
    models: Sequence[str | Path],
    output: str | Path,
    *,
    schemes: Sequence[SchemeSpec] = DEFAULT_SCHEMES,
    densities: Sequence[float] = DEFAULT_DENSITIES,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    timer: ProbeTimer | None = None,
    command: str = "",
) -> LatencyTable:
    """Measure every distinct layer setting of the ONNX files × scheme × density into the table at ``output``.

    What the table has is not measured again; after an interrupt the same call goes on.

    Args:
        timer: compiles and times; None = this machine, one thread.
        command: what the user typed, for the record.

    Raises:
        UserError: a model, scheme or density cannot be used, or the table is of another machine.
    """
    settings = probe_settings(spec.setting for model in models for spec in read_specs(model, shapes))
    return measure(make_probes(settings, schemes, densities), output, timer or LocalTimer(), command)
