"""LayerRow: all that a run says of one layer: plan, latency table, bench and training side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunemap.compiler.node_names import onnx_name
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import Predictor
from prunemap.report.html.run_folder import Run

if TYPE_CHECKING:  # importing pruning imports torch
    from prunemap.pruning import LayerRate


@dataclass(frozen=True)
class LayerRow:
    """A layer of the plan; None where the run does not say. Shares from 0 to 1, times in microseconds."""

    name: str
    kind: str
    weight_shape: tuple[int, ...]
    scheme: SchemeSpec
    density: float
    reason: str
    setting: LayerSetting | None = None
    macs: int | None = None
    """Dense."""
    kept: float | None = None
    """Kept / all weights of the pruned network, which one threshold for all layers makes other than the plan."""
    energy: float | None = None
    """Σ w² of what is kept / of all."""
    dense_us: float | None = None
    """Predicted, as is ``pruned_us``."""
    pruned_us: float | None = None
    measured_us: float | None = None
    """All steps of the layer in the compiled network."""


def layer_rows(run: Run) -> list[LayerRow]:
    """Return a row for every layer of the plan; nothing without one.

    Raises:
        UserError: the plan does not fit the network in the folder.
    """
    if run.plan is None:
        return []
    specs: dict[PlanLayer, LayerSpec] = {}
    if run.specs:
        found = zip(run.plan.resolve(run.specs), run.specs, strict=True)
        specs = {entry: spec for entry, spec in found if entry is not None}
    predictor = None if run.latency is None else Predictor(run.latency)
    nodes = Counter(_node(entry, specs.get(entry)) for entry in run.plan.layers)
    rates, measured = _rates(run), _measured_us(run, nodes)
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
                setting=setting,
                macs=spec.macs if spec else None,
                kept=rate.density if rate else None,
                energy=rate.energy if rate else None,
                dense_us=predict(predictor, setting, DENSE, 1.0),
                pruned_us=predict(predictor, setting, entry.scheme, entry.density),
                measured_us=measured.get(_node(entry, spec)),
            )
        )
    return rows


def predict(
    predictor: Predictor | None, setting: LayerSetting | None, scheme: SchemeSpec, density: float
) -> float | None:
    """Return the latency in microseconds, None where the table does not have such a layer or scheme."""
    if predictor is None or setting is None:
        return None
    try:
        return predictor.latency_us(setting, scheme, density)
    except UserError:
        return None


def _rates(run: Run) -> Mapping[str, LayerRate]:
    """Return what was kept of every pruned layer, by its name in torch."""
    pruned = run.reports.get("pruned")
    rates = pruned.rates if pruned else run.summary.rates if run.summary else None
    return {} if rates is None else {each.name: each for each in rates.layers}


def _measured_us(run: Run, nodes: Mapping[str, int]) -> dict[str, float]:
    """Return the time of every layer by its ONNX node; not of one that is several layers of the plan (LSTM, GRU).

    Args:
        nodes: how many layers of the plan each is.
    """
    found: dict[str, float] = {}
    for slot in run.benched.layers if run.benched else ():
        if nodes.get(slot.layer) == 1:
            found[slot.layer] = found.get(slot.layer, 0.0) + slot.median_us
    return found


def _node(entry: PlanLayer, spec: LayerSpec | None) -> str:
    return onnx_name(entry.name if spec is None else spec.name)
