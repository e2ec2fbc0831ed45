"""Tables of bench that go into a network: its layers beside the limit of the machine, and what fake sparsity made."""

from __future__ import annotations

from rich.table import Table

from prunemap.benchmarking import BenchResult, LayerResult
from prunemap.devices import Limits
from prunemap.report.segments import segment_times
from prunemap.report.text import SHOWN_NAMES, count, milliseconds, new_table, percent, size


def layer_tables(result: BenchResult) -> list[Table]:
    """Return the time of every slot, and the reasons why layers run dense; nothing if slots were not timed."""
    if result.limits is None:
        return []
    headers = ("layer", "kernel", "structure", "density", "MACs", "µs", "limit")
    table = new_table("layers", *headers, caption=_layers_caption(result, result.limits), left=3)
    for layer in result.layers:
        density = "" if layer.density is None else percent(layer.density)
        macs = count(layer.macs_kept) if layer.macs_kept else ""
        share = "" if layer.limit_share is None else f"{layer.limit_share * 100:.0f} %"
        style = "dim" if layer.density is None else None
        kernel = layer.kernel.removeprefix("f32_").removesuffix("_i16").removesuffix("_i32")  # 80 columns are few
        table.add_row(layer.name, kernel, layer.structure, density, macs, f"{layer.median_us:.1f}", share, style=style)
    return [table, *_whole_layers(result.layers), *segment_times(result.layers), *_reasons(result.layers)]


def _whole_layers(layers: tuple[LayerResult, ...]) -> list[Table]:
    """Return the time of the layers that take several steps, all of them; nothing if there are none."""
    steps: dict[tuple[int | None, str], list[LayerResult]] = {}
    for each in layers:
        if each.layer:
            steps.setdefault((each.segment, each.layer), []).append(each)
    several = {layer: of_layer for (_, layer), of_layer in steps.items() if len(of_layer) > 1}
    if not several:
        return []
    caption = "products: the steps with weights; moving: the copies around them"
    table = new_table("layers of several steps", "layer", "steps", "products, µs", "moving, µs", "µs", caption=caption)
    for layer, of_layer in several.items():
        whole = sum(each.median_us for each in of_layer)
        products = sum(each.median_us for each in of_layer if each.density is not None)
        table.add_row(layer, str(len(of_layer)), *(f"{us:.1f}" for us in (products, whole - products, whole)))
    return [table]


def _layers_caption(result: BenchResult, limits: Limits) -> str:
    layers_ms = sum(layer.median_us for layer in result.layers) / 1e3
    network_ms = next(each.median_ms for each in result.results if each.engine == "prunemap")
    ends = zip(limits.bandwidths, limits.sizes_bytes, strict=True)
    (first, small), *_, (last, large) = ends
    return (
        f"sum of the layers {milliseconds(layers_ms)} ms, the network {milliseconds(network_ms)} ms: "
        f"{percent(layers_ms / network_ms - 1)} apart\n"
        "MACs with weights that are not zero; limit: the least time that the machine allows / the median\n"
        f"the machine: {limits.peak_flops / 1e9:.0f} GFLOP/s; copying {first / 1e9:.0f} GB/s at {_binary(small)} "
        f"to {last / 1e9:.0f} GB/s at {_binary(large)}"
    )


def _binary(size_bytes: int) -> str:
    """Return 16384 as 16 KiB."""
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= step:
            return f"{size_bytes / step:g} {unit}"
    return size(size_bytes)


def _reasons(layers: tuple[LayerResult, ...]) -> list[Table]:
    """Return one table of the reasons, each with its layers."""
    by_reason: dict[str, list[str]] = {}
    for layer in layers:
        if layer.reason:
            by_reason.setdefault(layer.reason, []).append(layer.name)
    if not by_reason:
        return []
    table = new_table("why", "because", "layers", left=2)
    for reason, names in by_reason.items():
        table.add_row(reason, ", ".join(names))
    return [table]


def faked_tables(result: BenchResult) -> list[Table]:
    """Return what fake sparsity made of the layers; nothing if it was not asked for."""
    if not result.faked:
        return []
    groups: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for layer in result.faked:
        groups.setdefault((str(layer.scheme), layer.reason), []).append((layer.name, layer.density))
    caption = "pruned by magnitude without training: its speed counts, not what it computes"
    table = new_table("fake sparsity", "scheme", "layers", "why", "density", caption=caption, left=3)
    for (scheme, reason), members in groups.items():
        densities = sorted(density for _, density in members)
        shown = ", ".join(name for name, _ in members) if len(members) <= SHOWN_NAMES else str(len(members))
        table.add_row(scheme, shown, reason, percent(densities[len(densities) // 2]))
    return [table]
