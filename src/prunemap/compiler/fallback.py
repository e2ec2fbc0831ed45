"""Compiling what can be compiled, and leaving the other nodes to another engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import onnx

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import compile_loaded, pinned_schemes
from prunemap.compiler.cost import NodeCost, costs_of
from prunemap.compiler.graph.ir import Shape
from prunemap.compiler.onnx.file import graph_inputs, node_name, read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.partition import Cut, partition, tensor_info
from prunemap.compiler.onnx.source import Source
from prunemap.compiler.passes import optimise
from prunemap.compiler.tune import DEFAULT_TUNING, Tuning
from prunemap.core.artifact import ONNX_RUNTIME, OURS, Manifest, Segment, TensorInfo
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError
from prunemap.runtime import ABI, Compiled, Pipeline, Program, open_session, slot_of
from prunemap.targets import NATIVE, resolve_target

FALLBACKS = (ONNX_RUNTIME,)


def compile_with_fallback(
    model: str | Path,
    fallback: str = ONNX_RUNTIME,
    *,
    plan: Plan | None = None,
    target: str = NATIVE,
    shapes: Mapping[str, Shape] | None = None,
    cc: str | None = None,
    detect: bool = True,
    tune: Tuning | None = DEFAULT_TUNING,
) -> Compiled:
    """Compile an ONNX file; nodes that cannot be compiled run in another engine, and everything else in ours.

    Args:
        fallback: the other engine, onnxruntime; it must be installed, where the program runs too.
        plan, target, shapes, cc, detect, tune: see :func:`prunemap.compiler.compile_model`.

    Returns:
        A program if all nodes can be compiled, else a pipeline; its manifest says where the model was cut.

    Raises:
        UserError: the model, plan, target or compiler cannot be used, or the other engine refuses its part.
    """
    if fallback not in FALLBACKS:
        raise UserError(f"--fallback: got {fallback!r}, allowed are {', '.join(FALLBACKS)}")
    machine, compiler = resolve_target(target), find_compiler(cc)
    loaded, source = read_onnx(model, shapes), Source.of(model)
    schemes, cuts = pinned_schemes(plan, loaded), partition(loaded)
    if all(cut.compiled for cut in cuts):
        return compile_loaded(loaded, source, machine, compiler, schemes, detect, tune)
    others = {k: _as_bytes(cut.model) for k, cut in enumerate(cuts) if not cut.compiled}
    for other in others.values():
        open_session(other)
    parts: list[Program | bytes] = [
        others[k]
        if k in others
        else compile_loaded(cut.model, source, machine, compiler, _of(schemes, cut.model), detect, tune)
        for k, cut in enumerate(cuts)
    ]
    return Pipeline(_manifest(loaded, source, cuts, parts, machine.name, compiler.version, detect), tuple(parts))


def _of(schemes: Mapping[str, SchemeSpec], model: onnx.ModelProto) -> dict[str, SchemeSpec]:
    """Return the schemes of the layers that a segment has."""
    names = {node_name(node) for node in model.graph.node}
    return {name: scheme for name, scheme in schemes.items() if name in names}


def _as_bytes(model: onnx.ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except ValueError as error:  # protobuf ends at 2 GiB
        raise UserError(f"fallback: a segment of ONNX Runtime is too large ({error})") from None


def _manifest(
    model: onnx.ModelProto,
    source: Source,
    cuts: Sequence[Cut],
    parts: Sequence[Program | bytes],
    target: str,
    compiler: str,
    detect: bool,
) -> Manifest:
    segments = tuple(_segment(k, cut, part) for k, (cut, part) in enumerate(zip(cuts, parts, strict=True)))
    programs = [part.manifest for part in parts if isinstance(part, Program)]
    return Manifest(
        prunemap=version("prunemap"),
        target=target,
        compiler=compiler,
        abi=ABI,
        inputs=tuple(_described(graph_inputs(model))),
        outputs=tuple(_described(model.graph.output)),
        slots=tuple(slot for segment in segments for slot in segment.slots),
        layers=tuple(layer for each in programs for layer in each.layers),
        source_path=source.path,
        source_sha256=source.sha256,
        arena_bytes=sum(each.arena_bytes for each in programs),
        thread_bytes=sum(each.thread_bytes for each in programs),
        detect=detect,
        tuned=any(each.tuned for each in programs),
        segments=segments,
    )


def _described(values: Iterable[onnx.ValueInfoProto]) -> Iterator[TensorInfo]:
    return (info for info in map(tensor_info, values) if info is not None)  # partition has refused others


def _segment(number: int, cut: Cut, part: Program | bytes) -> Segment:
    nodes = tuple(node_name(node) for node in cut.model.graph.node)
    if isinstance(part, Program):
        made = part.manifest
        return Segment(OURS, nodes, made.inputs, made.outputs, tuple(slot_of(number, slot) for slot in made.slots))
    why = tuple(f"{each.name} ({each.op}): {each.why}" for each in cut.why)
    return Segment(ONNX_RUNTIME, nodes, cut.inputs, cut.outputs, (f"{number}: {ONNX_RUNTIME}",), why)


def read_segment_costs(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> dict[str, NodeCost]:
    """Return the cost of everything that the compiled segments of an ONNX model are timed by, by slot.

    Raises:
        UserError: the model cannot be read or cut.
    """
    return {
        slot_of(k, slot): cost
        for k, cut in enumerate(partition(read_onnx(model, shapes)))
        if cut.compiled
        for slot, cost in costs_of(optimise(import_graph(cut.model))).items()
    }
