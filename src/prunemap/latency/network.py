"""Networks in the table: what a dense network takes beside its layers, and what the layers take inside it.

A layer in its network reads a residual sum and writes what the next one needs, and its weights were last read a whole
network ago. A layer that stays dense takes in a pruned network what it takes there; a pruned one is read off its curve.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from prunemap.compiler import identify, read_specs
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.core.latency_table import LatencyTable, LayerTime, NetworkTimes, SlotTime
from prunemap.core.layer import LayerSpec
from prunemap.errors import UserError
from prunemap.latency.measure import PROGRESS, NetworkSeconds, ProbeTimer
from prunemap.latency.table_file import TableFile

log = logging.getLogger(__name__)


def measure_networks(
    models: Sequence[str | Path],
    path: str | Path,
    timer: ProbeTimer,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    command: str = "",
    force: bool = False,
) -> LatencyTable:
    """Time the dense networks that the table at ``path`` lacks, slot by slot; returns the whole table.

    One that cannot be compiled is left out with a warning; its layers can be mapped all the same.

    Raises:
        UserError: a model cannot be read, or the table is damaged or of another machine.
    """
    file = TableFile.open(path, timer.machine(), timer.threads, command, force=force)
    known = {model: (read_specs(model, shapes), identify(model, shapes)) for model in dict.fromkeys(models)}
    with Progress(*PROGRESS, console=Console(stderr=True)) as progress:
        for model, (specs, identity) in progress.track(known.items(), description="timing whole networks"):
            if file.read().network([spec.setting for spec in specs], identity.sha256) is not None:
                continue
            if identity.images > 1:
                said = "%s is not timed as a whole: it takes %d images at once, and latencies are those of one"
                log.warning(said, model, identity.images)
                continue
            try:
                timed = timer.time_network(model, shapes)
            except UserError as error:
                log.warning("%s is not timed as a whole: %s", model, error)
            else:
                file.merge(networks=[network_times(Path(model).stem, specs, timed, identity.sha256)])
    return file.read()


def network_times(name: str, specs: Sequence[LayerSpec], timed: NetworkSeconds, graph_sha256: str = "") -> NetworkTimes:
    """Share the time of a network out among its layers and the glue."""
    medians = dict(zip(timed.slots, (np.median(timed.seconds, axis=0) * 1e6).tolist(), strict=True))
    layers = {spec.name: 0.0 for spec in specs}
    glue = []
    for slot, median_us in medians.items():
        of = max((layer for layer in layers if _is_of(slot, layer)), key=len, default=None)
        if of is None:
            glue.append(SlotTime(name=slot, median_us=median_us))
        else:
            layers[of] += median_us
    return NetworkTimes(
        name=name,
        layers=tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=layers[spec.name]) for spec in specs),
        glue=tuple(glue),
        anchor_us=max(float(np.median(timed.anchor_seconds)) * 1e6, 1e-3),
        runs=len(timed.seconds),
        graph_sha256=graph_sha256,
    )


def _is_of(slot: str, layer: str) -> bool:
    """Return whether a slot is a step of a layer; of an LSTM, the layer on the states is named within its node."""
    return slot.startswith(layer) and onnx_name(slot) == onnx_name(layer)
