"""Single layers, compiled to be timed: each alone, as in a network, with any of the tiles that can run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import Array, Graph, Node, Recurrent, Shape
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.graph.verify import verify_graph
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.lowering.select import TileChoice
from prunemap.compiler.onnx.importer import take_node
from prunemap.compiler.onnx.node import OnnxNode
from prunemap.compiler.onnx.rules.recurrent import add_recurrence
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.compiler.passes import optimise
from prunemap.core.layer import LayerSetting, Pads
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.runtime import Program
from prunemap.targets import NATIVE, resolve_target


@dataclass(frozen=True, eq=False)
class LayerCase:
    """One layer to be compiled on its own, with random or real weights; its structure is found from the zeros."""

    setting: LayerSetting
    weight: Array
    """``setting.weight_shape``"""
    tile: TileChoice | None = None
    """What runs it; None = the model's choice."""
    scheme: SchemeSpec | None = None
    """What the zeros follow, pinned as by a plan; None = it is looked for."""


def tile_variants(cases: Sequence[LayerCase], target: str = NATIVE) -> list[list[LayerCase]]:
    """Return every case with each of the tiles that can run it, the model's choice first."""
    graph = optimise(_graph(cases))
    found = lower(graph, resolve_target(target), _schemes(graph, cases), halos=_halos(cases)).candidates
    candidates = {onnx_name(node): tiles for node, tiles in found.items()}
    tiles = (candidates.get(_name(i), (case.tile,)) for i, case in enumerate(cases))
    return [[replace(case, tile=tile) for tile in of_case] for case, of_case in zip(cases, tiles, strict=True)]


def compile_layers(cases: Sequence[LayerCase], *, target: str = NATIVE, cc: str | None = None) -> Program:
    """Compile independent layers into one program: output i is the result of case i.

    A layer may become several steps, such as the copies around a transposed convolution: :func:`case_slots` tells
    which. Cases with equal settings read the same input, of ``setting.in_shape``; the inputs are called ``x0``, ``x1``,
    … in order of appearance.
    """
    return _build(_graph(cases), cases, target, cc)


def compile_embedded(
    variants: Sequence[Sequence[LayerCase]], *, target: str = NATIVE, cc: str | None = None
) -> Program:
    """Compile every variant of every case as a layer stands in a network, so that its time is that which it has there.

    What it reads was written just before, by a step in front of it; what it writes is read just behind it and then
    overwritten; its weights were last read a run ago, and ``SWEEP_FLOATS`` floats were copied since. The step behind it
    compares: output k is the largest difference of variant k, counted over all cases, from what the case means.

    Inputs are ``x0``, ``x1``, … (one per setting, of ``setting.in_shape``; half of each is set to zero in front of the
    layer), ``right0``, ``right1``, … (one per case, of its output's shape), and ``sweep``.
    """
    cases = [case for of_case in variants for case in of_case]
    return _build(_embedded_graph(variants), cases, target, cc)


def _build(graph: Graph, cases: Sequence[LayerCase], target: str, cc: str | None) -> Program:
    """Compile a graph whose layers are named after the cases, each with the tile of its case."""
    graph = optimise(graph)
    by_case = {_name(i): case.tile for i, case in enumerate(cases)}
    tiles = {node.name: tile for node in graph.nodes if (tile := by_case.get(onnx_name(node.name))) is not None}
    return build_graph(
        graph,
        resolve_target(target),
        find_compiler(cc),
        schemes=_schemes(graph, cases),
        tiles=tiles,
        halos=_halos(cases),
    )


def case_slots(names: Sequence[str]) -> dict[int, list[int]]:
    """Return the places of every case among the slots (or nodes) of a program of :func:`compile_layers`."""
    found: dict[int, list[int]] = {}
    for place, name in enumerate(names):
        case = onnx_name(name)
        if case.startswith(_CASE):
            found.setdefault(int(case.removeprefix(_CASE)), []).append(place)
    return found


def interpret_layers(cases: Sequence[LayerCase], inputs: Mapping[str, Array]) -> list[Array]:
    """Return what the cases mean, by the interpreter on the graph before any pass.

    Args:
        inputs: as for the program.
    """
    return interpret(_graph(cases), inputs)


def _halos(cases: Sequence[LayerCase]) -> dict[str, Pads]:
    """What stands around the output of a 1x1 conv inside a network: the padding of a larger kernel behind it.

    So its rows are one pixel further apart, as they are there; alone it would, on small maps, look up to twice as fast.
    """
    settings = {f"y{i}": case.setting for i, case in enumerate(cases)}
    beside = {name: each for name, each in settings.items() if each.kind == "conv" and each.kernel == (1, 1)}
    return {name: (0, 0, 0, 1) for name, each in beside.items() if each.size != (1, 1)}


def _schemes(graph: Graph, cases: Sequence[LayerCase]) -> dict[str, SchemeSpec]:
    """Return the pinned structure of the nodes, by name."""
    by_case = {_name(i): case.scheme for i, case in enumerate(cases)}
    return {node.name: scheme for node in graph.nodes if (scheme := by_case.get(onnx_name(node.name))) is not None}


_CASE = "case"
SWEEP_FLOATS = 1 << 21
"""More than a second-level cache holds."""


def _name(index: int) -> str:
    return f"{_CASE}{index}"


def _graph(cases: Sequence[LayerCase]) -> Graph:
    """Return the layers as the import takes them in."""
    names = {setting: f"x{i}" for i, setting in enumerate(dict.fromkeys(case.setting for case in cases))}
    inputs: dict[str, Shape] = {name: setting.in_shape for setting, name in names.items()}
    nodes = list[Node]()
    for i, case in enumerate(cases):
        make = _recurrence if case.setting.is_recurrent else _layer
        nodes += make(case, _name(i), names[case.setting], f"y{i}")
    graph = make_graph(inputs, [f"y{i}" for i in range(len(cases))], nodes)
    return verify_graph(graph, "layer cases")


def _embedded_graph(variants: Sequence[Sequence[LayerCase]]) -> Graph:
    """Return every variant with a step in front of it and the comparison behind it."""
    settings = {of_case[0].setting: None for of_case in variants}
    names = {setting: f"x{i}" for i, setting in enumerate(settings)}
    inputs: dict[str, Shape] = {name: setting.in_shape for setting, name in names.items()}
    inputs |= {f"right{i}": of_case[0].setting.out_shape for i, of_case in enumerate(variants)}
    inputs["sweep"] = (1, SWEEP_FLOATS)
    nodes = _taken("ReduceMax", ["sweep"], "swept", {"sweep": inputs["sweep"]}, keepdims=0)
    numbered = enumerate((i, case) for i, of_case in enumerate(variants) for case in of_case)
    for k, (i, case) in numbered:
        setting, right = case.setting, f"right{i}"
        make = _recurrence if setting.is_recurrent else _layer
        shapes = {f"fed{k}": setting.in_shape, f"y{k}": setting.out_shape, right: setting.out_shape}
        nodes += _taken("Relu", [names[setting]], f"fed{k}", {names[setting]: setting.in_shape})
        nodes += make(case, _name(k), f"fed{k}", f"y{k}")
        nodes += _taken("Sub", [f"y{k}", right], f"off{k}", shapes)
        nodes += _taken("Abs", [f"off{k}"], f"size{k}", {f"off{k}": setting.out_shape})
        nodes += _taken("ReduceMax", [f"size{k}"], f"error{k}", {f"size{k}": setting.out_shape}, keepdims=0)
    outputs = [f"error{k}" for k in range(sum(map(len, variants)))]
    return verify_graph(make_graph(inputs, [*outputs, "swept"], nodes), "embedded layer cases")


def _taken(op: str, inputs: Sequence[str], output: str, shapes: Mapping[str, Shape], **attributes: Any) -> list[Node]:
    return take_node(helper.make_node(op, inputs, [output], output, **attributes), {}, shapes)


def _layer(case: LayerCase, name: str, x: str, y: str) -> list[Node]:
    """Return what becomes of a convolution, a transposed one, or a linear layer."""
    setting, weight = case.setting, f"{name} weight"
    constants = {weight: _stored(case), f"{name} bias": np.zeros(setting.out_channels, np.float32)}
    proto = _onnx_node(setting, [x, *constants], y, name)
    return take_node(proto, constants, {x: setting.in_shape})


def _stored(case: LayerCase) -> Array:
    """Return the weight as ONNX has it."""
    setting = case.setting
    if setting.kind != "conv_transpose":
        return case.weight
    inputs, outputs = setting.in_channels, setting.out_channels // setting.groups
    stored = np.empty((inputs, outputs, *setting.kernel), np.float32)
    return StoredWeight("", "inputs first", setting.groups).write(stored, case.weight)


def _onnx_node(setting: LayerSetting, inputs: Sequence[str], output: str, name: str) -> NodeProto:
    if setting.kind == "linear":
        return helper.make_node("Gemm", inputs, [output], name, transB=1)
    axes = len(setting.size)
    window: dict[str, Any] = {"strides": setting.stride, "dilations": setting.dilation, "group": setting.groups}
    if setting.kind != "conv_transpose":
        return helper.make_node("Conv", inputs, [output], name, pads=setting.pads, **window)
    pads = [max(0, each) for each in setting.pads]
    added = [max(0, -each) for each in setting.pads[axes:]]
    return helper.make_node("ConvTranspose", inputs, [output], name, pads=pads, output_padding=added, **window)


def _recurrence(case: LayerCase, name: str, x: str, y: str) -> list[Node]:
    """Return the steps of time of an LSTM or GRU, on the gates' sums of the inputs."""
    setting = case.setting
    node = OnnxNode.of(helper.make_node("Identity", [x], [y], name), {}, {x: setting.in_shape}, {x: "f32"}, 1)
    bias = np.zeros(setting.out_channels, np.float32)
    op = Recurrent("gru", case.weight, bias, reset_after=setting.reset_after)
    op = replace(op, kind="lstm") if setting.kind == "lstm" else op
    zeros = np.zeros((setting.size[1], setting.in_channels), np.float32)
    states = [node.build.constant(zeros) for _ in range(2 if op.kind == "lstm" else 1)]
    add_recurrence(node, f"{name}/recurrent", op, x, states)
    *before, last = node.build.nodes
    return [*before, replace(last, output=y)]
