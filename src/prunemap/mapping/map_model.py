"""map: from an ONNX file, a latency table and a budget to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunemap.compiler import coupled_layers, identity_of, read_layers
from prunemap.core import LatencyTable
from prunemap.mapping.mapper import Budget, Mapper, MapRequest, MapResult
from prunemap.mapping.rules import Rules


def map_model(
    model: str | Path,
    table: LatencyTable,
    budget: Budget,
    *,
    beta: float = 0.2,
    mapper: Mapper | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> MapResult:
    """Choose scheme, block size and density of every layer of a trained network.

    Args:
        table: measured on the device that the network is to run on.
        beta: how much slower than coarse structured pruning a scheme may be.
        mapper: None = by rules.

    Raises:
        UserError: the model cannot be read, the table lacks layers of it, or the budget cannot be met.
    """
    layers = read_layers(model, shapes)
    request = MapRequest(
        layers=layers,
        table=table,
        budget=budget,
        beta=beta,
        coupled=coupled_layers(model, shapes),
        model=identity_of(model, [layer.spec for layer in layers]),
    )
    return (mapper or Rules()).map(request)
