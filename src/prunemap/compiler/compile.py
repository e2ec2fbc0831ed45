"""ONNX → Program: import, optimise, lower, emit, build. Read top to bottom, this is the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import onnx

from prunemap.compiler.build import Compiler, build_library, find_compiler, kernel_sources
from prunemap.compiler.emit import emit_program
from prunemap.compiler.finite import check_finite, check_folded
from prunemap.compiler.graph.ir import Graph, Kind, Shape
from prunemap.compiler.layers import list_layers
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.lowering.select import TileChoice
from prunemap.compiler.onnx.file import int64_tensors, read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.source import Source
from prunemap.compiler.passes import optimise
from prunemap.compiler.tune import DEFAULT_TUNING, Tuning
from prunemap.core.artifact import Manifest, TensorInfo
from prunemap.core.layer import Pads
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.target import Target
from prunemap.errors import Problems
from prunemap.runtime import ABI, Program
from prunemap.schemes import why_illegal
from prunemap.targets import NATIVE, resolve_target, why_not_here

_DTYPES: Mapping[Kind, str] = {"f32": "float32", "i32": "int32", "bool": "bool"}


def compile_model(
    model: str | Path,
    *,
    plan: Plan | None = None,
    target: str = NATIVE,
    shapes: Mapping[str, Shape] | None = None,
    cc: str | None = None,
    detect: bool = True,
    tune: Tuning | None = DEFAULT_TUNING,
) -> Program:
    """Compile an ONNX file.

    Args:
        plan: pins the scheme of the layers that it names; the others are found from the zeros.
        shapes: sizes of inputs with symbolic dimensions; a symbolic batch alone means 1.
        cc: a C compiler command; None = ``zig cc``.
        detect: look for structure in the zeros; False compiles every weight as dense.
        tune: how tiles are chosen by measuring, if the target is this machine; None = by a model, deterministic.

    Raises:
        UserError: the model, plan, target or compiler cannot be used.
    """
    machine, compiler = resolve_target(target), find_compiler(cc)
    loaded = read_onnx(model, shapes)
    return compile_loaded(loaded, Source.of(model), machine, compiler, pinned_schemes(plan, loaded), detect, tune)


def compile_loaded(
    model: onnx.ModelProto,
    source: Source,
    target: Target,
    compiler: Compiler,
    schemes: Mapping[str, SchemeSpec],
    detect: bool,
    tune: Tuning | None,
) -> Program:
    """Compile a model that was read, or a part of it.

    Args:
        source: what it was read from.
        schemes: structure pinned by a plan, by node name.
    """
    check_finite(model)
    graph = optimise(import_graph(model))
    check_folded(graph)
    wide = dict.fromkeys(int64_tensors(model), "int64")
    build = partial(build_graph, graph, target, compiler, schemes=schemes, detect=detect, source=source, dtypes=wide)
    if tune is None or why_not_here(target):
        return build()
    made_by = (version("prunemap"), compiler.version, kernel_sources())
    key = (graph.shapes, source.sha256, schemes, detect, target.name, *made_by)
    return build(tiles=tune.choose(key, lambda: lower(graph, target, schemes, detect).candidates, build))


def build_graph(
    graph: Graph,
    target: Target,
    compiler: Compiler,
    *,
    schemes: Mapping[str, SchemeSpec] | None = None,
    detect: bool = True,
    source: Source | None = None,
    tiles: Mapping[str, TileChoice] | None = None,
    halos: Mapping[str, Pads] | None = None,
    dtypes: Mapping[str, str] = MappingProxyType({}),
) -> Program:
    """Lower, emit and build an optimised graph.

    Args:
        schemes: structure pinned by a plan, by node name.
        source: the model that the graph came from, for the manifest.
        tiles: chosen by tuning, by node name; None = the model's.
        halos: zeros around tensors that something outside of the graph needs.
        dtypes: of inputs and outputs that hold integers, where they are not int32.
    """

    def describe(name: str) -> TensorInfo:
        return TensorInfo(name, graph.shapes[name], dtypes.get(name, _DTYPES[graph.kinds[name]]))

    lowered = lower(graph, target, schemes, detect, tiles, halos)
    text = emit_program(lowered, target)
    library = build_library(text, target, compiler)
    manifest = Manifest(
        prunemap=version("prunemap"),
        target=target.name,
        compiler=compiler.version,
        abi=ABI,
        inputs=tuple(map(describe, graph.inputs)),
        outputs=tuple(map(describe, graph.outputs)),
        slots=lowered.slots,
        layers=lowered.choices,
        source_path=source.path if source else "",
        source_sha256=source.sha256 if source else "",
        arena_bytes=lowered.arena_floats * 4,
        thread_bytes=lowered.scratch_floats * 4,
        detect=detect,
        tuned=tiles is not None,
    )
    return Program(manifest, library, lowered.blob, 0, len(lowered.blob), text.encode())


def pinned_schemes(plan: Plan | None, model: onnx.ModelProto) -> dict[str, SchemeSpec]:
    """Return the scheme of every layer that the plan names.

    Raises:
        UserError: the plan does not fit the model; all layers are listed.
    """
    if plan is None:
        return {}
    layers = [layer.spec for layer in list_layers(model)]
    problems = Problems("plan: it does not fit this model")
    pinned = {}
    for layer, entry in zip(layers, plan.resolve(layers), strict=True):
        if entry is None:
            continue
        why = why_illegal(entry.scheme, layer.weight_shape, entry.density)
        if why is not None:
            problems.add(f"layer {layer.name!r}: {why}")
        pinned[layer.name] = entry.scheme
    problems.raise_if_any()
    return pinned
