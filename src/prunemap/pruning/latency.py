"""The latency of a module by a plan, predicted from a table of `prunemap profile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from prunemap.compiler import read_specs, read_wiring
from prunemap.core.latency_table import LatencyTable
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.value import read_json
from prunemap.core.wiring import Wiring
from prunemap.errors import UnsupportedError
from prunemap.latency import PlanLatency
from prunemap.pruning.export import convert_module
from prunemap.pruning.layers import Examples
from prunemap.pruning.threshold import Densities

Latency = Callable[[Densities], float]
"""From the density of every layer, by name, to the predicted latency in ms."""


def predicted_latency(
    module: nn.Module, examples: Examples, choices: Mapping[str, PlanLayer], table: LatencyTable | str | Path
) -> Latency:
    """Return what predicts the module's latency; what is compiled is its export at the sizes of the examples.

    Args:
        choices: the plan's entry by the name of the weight.
        table: or its file.

    Raises:
        UserError: the table lacks layers of the module or schemes of the plan, or torch cannot export the module.
    """
    if not isinstance(table, LatencyTable):
        table = read_json(table, LatencyTable, "latency table")
    with TemporaryDirectory(prefix="prunemap-") as folder:
        exported = Path(folder) / "module.onnx"
        convert_module(module, examples, exported)
        layers, wiring = read_specs(exported), _wiring(exported)
    entries = [entry.model_copy(update={"name": name, "module": name}) for name, entry in choices.items()]
    return PlanLatency(table, layers, Plan(layers=tuple(entries)), wiring)


def _wiring(model: Path) -> Wiring:
    """Return the wiring, an empty one of what cannot be taken in: then no layer is said to read fewer channels."""
    try:
        return read_wiring(model)
    except UnsupportedError:
        return Wiring()
