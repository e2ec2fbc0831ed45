"""Tables of networks that are cut into segments: where, what crosses, what each takes."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from prunemap.benchmarking import LayerResult
from prunemap.core.artifact import OURS, Manifest, Segment, TensorInfo
from prunemap.report.text import SHOWN_NAMES, new_table, size


def segment_tables(manifest: Manifest) -> list[Table]:
    """Return where the network was cut and why; nothing for one that is compiled as a whole."""
    if not manifest.segments:
        return []
    given = {info.name for info in manifest.inputs}
    read = [_crossing(segment, given) for segment in manifest.segments]
    crossing = {info.name: info for infos in read for info in infos}.values()
    caption = (
        f"crossing: {len(crossing)} tensors, {_bytes(crossing)}; each is copied out of its segment and into the next\n"
        "prunemap bench --per-layer shows the time of every segment"
    )
    table = new_table("segments", "segment", "engine", "nodes", "reads of others", "bytes", caption=caption, left=4)
    for k, (segment, infos) in enumerate(zip(manifest.segments, read, strict=True)):
        names = _some([info.name for info in infos])
        table.add_row(str(k), segment.engine, _nodes(segment), names, _bytes(infos) if infos else "")
    why = new_table("not compiled", "segment", "node, operator, reason", left=2)
    for k, segment in enumerate(manifest.segments):
        for each in segment.why:
            why.add_row(str(k), each)
    return [table, why]


def segment_times(layers: tuple[LayerResult, ...]) -> list[Table]:
    """Return the time of every segment: the sum over its slots; nothing for a network without segments."""
    times_us: dict[int, float] = {}
    for layer in layers:
        if layer.segment is not None:
            times_us[layer.segment] = times_us.get(layer.segment, 0.0) + layer.median_us
    if not times_us:
        return []
    whole = {layer.segment: layer.kernel for layer in layers if layer.name == f"{layer.segment}: {layer.kernel}"}
    table = new_table("time of the segments", "segment", "engine", "µs", left=2)
    for k, time_us in times_us.items():
        table.add_row(str(k), whole.get(k, OURS), f"{time_us:.1f}")
    return [table]


def _crossing(segment: Segment, given: set[str]) -> list[TensorInfo]:
    return [info for info in segment.inputs if info.name not in given]


def _nodes(segment: Segment) -> str:
    if segment.engine != OURS:
        return _some(list(segment.nodes))
    return (
        f"{len(segment.nodes)}: {segment.nodes[0]} … {segment.nodes[-1]}"
        if len(segment.nodes) > 1
        else segment.nodes[0]
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    return f"{shown} and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else shown


def _bytes(infos: Iterable[TensorInfo]) -> str:
    sizes = [info.size_bytes for info in infos]
    known = size(sum(each for each in sizes if each is not None))
    return f"{known} and what is not known before a run" if None in sizes else known
