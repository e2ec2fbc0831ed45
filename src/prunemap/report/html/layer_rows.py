"""LayerRow: all that a run says of one layer: plan, latency table, bench and training side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from prunemap.compiler.graph.node_names import onnx_name
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import NetworkLatency, Predictor
from prunemap.mapping.choices import FILTER
from prunemap.report.html.run_folder import Run

if TYPE_CHECKING:  # importing pruning imports torch
    from prunemap.pruning import LayerRate

ALL: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class LayerRow:
    """A layer of the plan; None where the run does not say. Shares from 0 to 1, times in microseconds."""

    name: str
    kind: str
    weight_shape: tuple[int, ...]
    scheme: SchemeSpec
    density: float
    reason: str
    node: str = ""
    """The name of its layer in the network's file."""
    setting: LayerSetting | None = None
    macs: int | None = None
    """Dense."""
    kept: float | None = None
    """Kept / all weights of the pruned network, which one threshold for all layers makes other than the plan."""
    energy: float | None = None
    """Σ w² of what is kept / of all."""
    dense_us: float | None = None
    """Predicted, as is ``pruned_us``, which reads what is left of its input channels."""
    pruned_us: float | None = None
    measured_us: float | None = None
    """All steps of the layer in the compiled network; see :func:`shared_times` for an LSTM or GRU."""


def layer_rows(run: Run) -> list[LayerRow]:
    """Return a row for every layer of the plan; nothing without one.

    Raises:
        UserError: the plan does not fit the network in the folder.
    """
    if run.plan is None:
        return []
    specs = _specs_of(run.plan, run)
    latency = _latency_of(run)
    filters = {spec.name: entry.density for entry, spec in specs.items() if entry.scheme == FILTER}
    left = run.wiring.inputs_left(filters)
    nodes = Counter(_node(entry, specs.get(entry)) for entry in run.plan.layers)
    rates, measured = _rates(run), _measured_us(run)
    rows = []
    for entry in run.plan.layers:
        spec = specs.get(entry)
        setting = None if spec is None else spec.setting
        names = (entry.module, entry.name, *((spec.module, spec.name) if spec else ()))
        rate = next((rates[name] for name in names if name in rates), None)
        rows.append(
            LayerRow(
                name=entry.name,
                kind=entry.kind,
                weight_shape=entry.weight_shape,
                scheme=entry.scheme,
                density=entry.density,
                reason=entry.reason,
                node=entry.name if spec is None else spec.name,
                setting=setting,
                macs=spec.macs if spec else None,
                kept=rate.density if rate else None,
                energy=rate.energy if rate else None,
                dense_us=_predict(latency, spec, DENSE, 1.0),
                pruned_us=_predict(latency, spec, entry.scheme, entry.density, left),
                measured_us=measured.get(_node(entry, spec)) if nodes[_node(entry, spec)] == 1 else None,
            )
        )
    return rows


def _specs_of(plan: Plan, run: Run) -> dict[PlanLayer, LayerSpec]:
    """Return the layers of the network that the plan names; nothing where there is no network."""
    found = zip(plan.resolve(run.specs), run.specs, strict=True) if run.specs else ()
    return {entry: spec for entry, spec in found if entry is not None}


def predictor_of(run: Run) -> Predictor | None:
    """Return what predicts the latency of layers: inside the network, where the table has it."""
    if run.latency is None:
        return None
    return Predictor(run.latency, [spec.setting for spec in run.specs], graph_sha256=run.graph_sha256)


def _latency_of(run: Run) -> NetworkLatency | None:
    predictor = predictor_of(run)
    return None if predictor is None else NetworkLatency(predictor, run.specs, run.wiring)


def _predict(
    latency: NetworkLatency | None,
    spec: LayerSpec | None,
    scheme: SchemeSpec,
    density: float,
    left: Mapping[str, float] = ALL,
) -> float | None:
    """Return the latency in microseconds, None where the table does not have such a layer or scheme.

    Args:
        left: the share of its input channels that a layer still reads; all by default.
    """
    if latency is None or spec is None or spec.setting is None:
        return None
    try:
        return latency.layer_us(spec.name, scheme, density, left.get(spec.name, 1.0))
    except UserError:
        return None


@dataclass(frozen=True)
class NetworkTime:
    """What the network is predicted to take, in microseconds; what ``map`` says where the table has all layers."""

    dense_us: float
    pruned_us: float
    without: str
    """What is not counted, since the table does not have it."""
    threads: int


def network_time(run: Run) -> NetworkTime | None:
    """Return what the network is predicted to take dense and by the plan; None where the table has no layer of it.

    Raises:
        UserError: the plan does not fit the network in the folder.
    """
    predictor, latency = predictor_of(run), _latency_of(run)
    if run.latency is None or predictor is None or latency is None or run.plan is None:
        return None
    chosen = {spec.name: (entry.scheme, entry.density) for entry, spec in _specs_of(run.plan, run).items()}
    asked = [(spec, wanted) for spec in run.specs for wanted in {(DENSE, 1.0), chosen.get(spec.name, (DENSE, 1.0))}]
    lacking = {spec.name for spec, wanted in asked if _predict(latency, spec, *wanted) is None}
    known = [spec for spec in run.specs if spec.name not in lacking]
    if not known:
        return None
    of = NetworkLatency(predictor, known, run.wiring)
    layers = [f"{len(lacking)} of {len(run.specs)} layers"] if lacking else []
    between = [] if predictor.has_network else ["what lies between the layers"]
    return NetworkTime(of.total_us({}), of.total_us(chosen), " and ".join(layers + between), run.latency.threads)


def _rates(run: Run) -> Mapping[str, LayerRate]:
    """Return what was kept of every pruned layer, by its name in torch."""
    pruned = run.reports.get("pruned")
    rates = pruned.rates if pruned else run.summary.rates if run.summary else None
    return {} if rates is None else {each.name: each for each in rates.layers}


def _measured_us(run: Run) -> dict[str, float]:
    """Return the time of every layer of the compiled network, all of its steps, by its ONNX node."""
    found: dict[str, float] = {}
    for slot in run.benched.layers if run.benched else ():
        if slot.layer:
            found[slot.layer] = found.get(slot.layer, 0.0) + slot.median_us
    return found


@dataclass(frozen=True)
class SharedTime:
    """An LSTM or GRU: one layer of the network, which was timed, and several of the plan, which were predicted."""

    node: str
    rows: tuple[LayerRow, ...]
    dense_us: float | None
    """Predicted, the sum over the rows, as is ``pruned_us``; None where one of them is not known."""
    pruned_us: float | None
    measured_us: float | None


def shared_times(run: Run, rows: Sequence[LayerRow]) -> list[SharedTime]:
    """Return the layers of the network that are several of the plan, in order."""
    by_node: dict[str, list[LayerRow]] = {}
    for row in rows:
        by_node.setdefault(onnx_name(row.node), []).append(row)
    measured = _measured_us(run)
    return [
        SharedTime(
            node,
            tuple(of_node),
            _sum([row.dense_us for row in of_node]),
            _sum([row.pruned_us for row in of_node]),
            measured.get(node),
        )
        for node, of_node in by_node.items()
        if len(of_node) > 1
    ]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _node(entry: PlanLayer, spec: LayerSpec | None) -> str:
    return onnx_name(entry.name if spec is None else spec.name)
