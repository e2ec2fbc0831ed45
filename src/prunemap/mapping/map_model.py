"""map: an ONNX file, a latency table and a budget into a plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from prunemap.compiler import identity_of, read_network
from prunemap.core.latency_table import LatencyTable
from prunemap.core.sensitivity import Sensitivity
from prunemap.core.value import read_json
from prunemap.errors import UserError
from prunemap.mapping.conditions import other_compiler
from prunemap.mapping.importance import EQUAL, importance_of
from prunemap.mapping.mapper import Budget, Mapper, MapRequest, MapResult
from prunemap.mapping.rules import Rules

log = logging.getLogger(__name__)


def map_model(
    model: str | Path,
    table: LatencyTable | str | Path,
    budget: Budget,
    *,
    beta: float | None = None,
    mapper: Mapper | None = None,
    sensitivity: Sensitivity | str | Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    cc: str | None = None,
    force: bool = False,
    estimate: bool = False,
    ignore: Sequence[str] = (),
) -> MapResult:
    """Choose scheme, block size and density of every layer.

    Args:
        table: measured on the device that the network is to run on, or its file.
        beta: how much slower than coarse structured pruning a scheme may be, as a share; None = DEFAULT_BETA with a
            budget of density, else no limit.
        mapper: a row of MAPPERS; None = ``rules``.
        sensitivity: what pruning each layer costs in accuracy, or its file; None = every layer matters alike.
        cc: the C compiler that the network is to be compiled with; None = ``zig cc``.
        force: whether a table whose layers were compiled by another one will do; it is warned of.
        estimate: whether layers that the table lacks are estimated from measured ones of their kind.
        ignore: layers that stay dense: names, globs, ``re:`` and a regular expression, or kinds such as ``linear``.

    Raises:
        UserError: the model cannot be read, the table lacks its layers or is of another compiler, the sensitivity is
            of another network, a pattern to ignore matches no layer, or the budget cannot be met.
    """
    request = make_request(
        model,
        table,
        budget,
        beta=beta,
        sensitivity=sensitivity,
        shapes=shapes,
        cc=cc,
        force=force,
        estimate=estimate,
        ignore=ignore,
    )
    return (mapper or Rules()).map(request)


def make_request(
    model: str | Path,
    table: LatencyTable | str | Path,
    budget: Budget,
    *,
    beta: float | None = None,
    sensitivity: Sensitivity | str | Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    cc: str | None = None,
    force: bool = False,
    estimate: bool = False,
    ignore: Sequence[str] = (),
) -> MapRequest:
    """Return what a mapper is asked; see :func:`map_model`."""
    if not isinstance(table, LatencyTable):
        table = read_json(table, LatencyTable, "latency table")
    if (problem := other_compiler(table, cc)) is not None:
        if not force:
            raise UserError(
                f"{problem}; measure again, name the network's compiler (--cc), or use it as it is (--force)"
            )
        log.warning(problem)
    if isinstance(sensitivity, str | Path):
        sensitivity = read_json(sensitivity, Sensitivity, "sensitivity")
    network = read_network(model, shapes)
    if network.identity.images > 1:
        log.warning("%s takes %d images at once: latencies are those of one", model, network.identity.images)
    layers = network.layers
    return MapRequest(
        layers=layers,
        table=table,
        budget=budget,
        beta=beta,
        importance=EQUAL if sensitivity is None else importance_of(sensitivity, [layer.spec for layer in layers]),
        wiring=network.wiring,
        model=identity_of(model, [layer.spec for layer in layers]),
        graph_sha256=network.identity.sha256,
        estimate=estimate,
        ignore=ignore,
    )
