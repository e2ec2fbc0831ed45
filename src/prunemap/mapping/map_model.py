"""map: an ONNX file, a latency table and a budget into a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunemap.compiler import coupled_layers, identity_of, read_layers
from prunemap.core.latency_table import LatencyTable
from prunemap.core.value import read_json
from prunemap.mapping.mapper import DEFAULT_BETA, Budget, Mapper, MapRequest, MapResult
from prunemap.mapping.rules import Rules


def map_model(
    model: str | Path,
    table: LatencyTable | str | Path,
    budget: Budget,
    *,
    beta: float = DEFAULT_BETA,
    mapper: Mapper | None = None,
    importance: Mapping[str, float] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> MapResult:
    """Choose scheme, block size and density of every layer.

    Args:
        table: measured on the device that the network is to run on, or its file.
        beta: how much slower than coarse structured pruning a scheme may be, as a share.
        mapper: a row of MAPPERS; None = ``rules``.
        importance: weight of a layer's lost energy by layer name, 1 where not given.

    Raises:
        UserError: the model cannot be read, the table lacks its layers, or the budget cannot be met.
    """
    if not isinstance(table, LatencyTable):
        table = read_json(table, LatencyTable, "latency table")
    layers = read_layers(model, shapes)
    request = MapRequest(
        layers=layers,
        table=table,
        budget=budget,
        beta=beta,
        importance=importance or {},
        coupled=coupled_layers(model, shapes),
        model=identity_of(model, [layer.spec for layer in layers]),
    )
    return (mapper or Rules()).map(request)
