"""profile: the layers of some networks, measured on this machine, and the networks themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prunemap.compiler import read_specs
from prunemap.core.files import check_writable
from prunemap.core.latency_table import LatencyTable
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError
from prunemap.latency.grid import GRID
from prunemap.latency.local_timer import LocalTimer
from prunemap.latency.measure import ProbeTimer, measure
from prunemap.latency.network import measure_networks
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
    grid: bool = False,
    networks_only: bool = False,
    force: bool = False,
) -> LatencyTable:
    """Measure every distinct layer setting of the ONNX files × scheme × density into the table at ``output``.

    What the table has is not measured again; after an interrupt the same call goes on. The dense networks are timed
    too, for what lies between their layers.

    Args:
        timer: compiles and times; None = this machine, one thread.
        command: what the user typed, for the record.
        grid: measure usual settings too, for networks that are not there yet.
        networks_only: time the models as they are but not their layers, which are then estimated from others.
        force: add to a table of another machine.

    Raises:
        UserError: a model, scheme or density cannot be used, there is nothing to measure, or the table is of another
            machine.
    """
    if not models and not grid:
        raise UserError("models: got none; name ONNX files, or measure usual layers with --grid")
    timer = timer or LocalTimer()
    check_writable(output)
    settings = [] if networks_only else [spec.setting for model in models for spec in read_specs(model, shapes)]
    probes = make_probes(probe_settings([*settings, *(GRID if grid else ())]), schemes, densities)
    table = measure(probes, output, timer, command, force=force)
    return measure_networks(models, output, timer, shapes=shapes, command=command, force=force) if models else table
