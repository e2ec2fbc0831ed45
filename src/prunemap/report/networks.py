"""Tables of a network's layers: inspect, compile, map, train and prune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from prunemap.benchmarking.pruned_onnx import OnnxPruning
from prunemap.core.artifact import Manifest
from prunemap.core.inspection import Inspection
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE
from prunemap.mapping import MapResult
from prunemap.report.segments import segment_tables
from prunemap.report.text import count, milliseconds, new_table, percent, shape, size, times

if TYPE_CHECKING:  # importing pruning imports torch, which inspecting and compiling must not need
    from prunemap.pruning import TrainReport


def inspection_tables(inspection: Inspection) -> list[Table]:
    """Return the layers, and, if there are any, weights that are NaN, and nodes that cannot be compiled yet."""
    layers = inspection.layers
    totals = (
        f"{len(layers)} layers, {count(sum(layer.params for layer in layers))} weights, "
        f"{count(sum(layer.macs for layer in layers))} MACs"
    )
    headers = ("layer", "kind", "weight shape", "MACs", "density", "structure")
    table = new_table(inspection.model, *headers, caption=totals, left=2)
    for layer in layers:
        cells = (shape(layer.weight_shape), count(layer.macs), percent(layer.density), str(layer.structure))
        table.add_row(layer.name, layer.kind, *cells)
    more = [_not_finite(inspection)] if inspection.not_finite else []
    return [table, *more, *([_unsupported(inspection)] if inspection.unsupported else [])]


def _not_finite(inspection: Inspection) -> Table:
    table = new_table(
        "weights that are no numbers: it cannot be compiled", "weights", "layer", "NaN", "infinite", "of", left=2
    )
    for each in inspection.not_finite:
        table.add_row(each.tensor, each.node, count(each.nan), count(each.infinite), count(each.size))
    return table


def _unsupported(inspection: Inspection) -> Table:
    todo = "compile --fallback onnxruntime runs these nodes in ONNX Runtime; networks are to be in fp32"
    table = new_table("cannot be compiled yet", "node", "operator", "why", left=3, caption=todo)
    for node in inspection.unsupported:
        table.add_row(node.name, node.op, node.why)
    return table


def onnx_pruning_table(result: OnnxPruning, output: str | Path) -> Table:
    """Return what became of the layers of an ONNX file.

    Args:
        output: the file that was written.
    """
    verified = result.verified
    checked = "not verified: it cannot be compiled, `prunemap inspect` says why"
    if verified is not None:
        checked = f"compiled, it is off by at most {verified.max_relative_error:.1e} from {verified.reference}"
    table = new_table(str(output), "layer", "weight shape", "scheme", "density", "energy kept", caption=checked, left=1)
    for layer in result.layers:
        table.add_row(
            layer.name, shape(layer.weight_shape), str(layer.scheme), percent(layer.density), percent(layer.energy)
        )
    return table


def compiled_tables(manifest: Manifest, output: str | Path | None = None) -> list[Table]:
    """Return what runs every layer, why where there is something to say, and what the file is.

    Args:
        output: the ``.pmap`` that was written; None = none was.
    """
    layers = new_table("kernels", "layer", "kernel", "structure", "density", "stored", left=3)
    for layer in manifest.layers:
        cells = (layer.node, layer.kernel, layer.scheme, percent(layer.density), count(layer.stored_weights))
        layers.add_row(*cells)
    reasons = new_table("why", "layer", "", left=2)
    for layer in manifest.layers:
        if layer.reason:
            reasons.add_row(layer.node, layer.reason)
    file = new_table("program" if output is None else str(output), "", "", left=2)
    if output is not None:
        source = Path(manifest.source_path)
        beside = f" (the ONNX file: {size(source.stat().st_size)})" if source.is_file() else ""
        file.add_row("size", f"{size(Path(output).stat().st_size)}{beside}")
    file.add_row("working memory", size(manifest.arena_bytes))
    file.add_row("target", manifest.target)
    file.add_row("compiler", manifest.compiler)
    return [layers, *([reasons] if reasons.row_count else []), *segment_tables(manifest), file]


def plan_tables(result: MapResult) -> list[Table]:
    """Return the choice for every layer with its reason, and what the plan is predicted to cost."""
    caption = (
        "predicted: layers, and what lies between them if the table has the network\n"
        "kept: of the layers that may be pruned"
    )
    summary = new_table("budget", "", "dense", "plan", caption=caption)
    latencies_ms = (result.dense_latency_us / 1e3, result.latency_us / 1e3)
    summary.add_row("latency, ms", *map(milliseconds, latencies_ms))
    summary.add_row("speed-up", "", times(result.dense_latency_us / result.latency_us))
    for name, share in (
        ("MACs kept", result.density),
        ("weights kept", result.weights_kept),
        ("weight energy kept, mean", result.energy_kept),
    ):
        summary.add_row(name, percent(1), percent(share))
    return [plan_table(result.plan), summary]


def plan_table(plan: Plan) -> Table:
    """Return the choice for every layer with its reason."""
    table = new_table("plan", "layer", "scheme,\ndensity", "reason", left=3)
    for layer in plan.layers:
        dense = layer.scheme == DENSE
        choice = "dense" if dense else f"{layer.scheme}\n{percent(layer.density)}"
        table.add_row(layer.name, choice, layer.reason, style="dim" if dense else None)
    return table


def training_table(report: TrainReport) -> Table:
    """Return what a training or pruning stage reached."""
    table = new_table(f"{report.info.model} on {report.info.dataset}", "", "")
    if report.history is not None:
        table.add_row("epochs", str(len(report.history.epochs)))
    table.add_row(f"accuracy on {report.test_images} test images", percent(report.test_accuracy))
    table.add_row("accuracy on held-out training images", percent(report.held_out_accuracy))
    if report.held_out_accuracy_before is not None:
        table.add_row("  the same before retraining", percent(report.held_out_accuracy_before))
    for name, share in (
        ("weights kept", report.weights_kept),
        ("MACs kept", report.macs_kept),
        ("MACs kept, conv layers", report.conv_macs_kept),
    ):
        table.add_row(name, percent(share))
    return table
