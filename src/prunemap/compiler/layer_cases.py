"""Single layers, compiled to be timed: each alone, with any of the tiles that can run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.ir import Array, Conv, Graph, Linear, Node, Op, Shape
from prunemap.compiler.lower import lower
from prunemap.compiler.select import TileChoice
from prunemap.compiler.shapes import make_graph
from prunemap.compiler.verify import verify_graph
from prunemap.core.layer import LayerSetting, Pads
from prunemap.runtime import Program
from prunemap.targets import NATIVE, resolve_target


@dataclass(frozen=True, eq=False)
class LayerCase:
    """One layer to be compiled on its own, with random or real weights; its structure is found from the zeros."""

    setting: LayerSetting
    weight: Array
    """(O, I/groups, Kh, Kw) or (O, I)"""
    tile: TileChoice | None = None
    """What runs it; None = the model's choice."""


def tile_variants(cases: Sequence[LayerCase], target: str = NATIVE) -> list[list[LayerCase]]:
    """Return every case with each of the tiles that can run it, the model's choice first."""
    candidates = lower(_graph(cases), resolve_target(target), halos=_halos(cases)).candidates
    tiles = (candidates.get(_name(i), (case.tile,)) for i, case in enumerate(cases))
    return [[replace(case, tile=tile) for tile in of_case] for case, of_case in zip(cases, tiles, strict=True)]


def compile_layers(cases: Sequence[LayerCase], *, target: str = NATIVE, cc: str | None = None) -> Program:
    """Compile independent layers into one program: slot i times case i, output i is its result.

    Cases with equal settings read the same input; the inputs are called ``x0``, ``x1``, … in order of appearance.
    """
    tiles = {_name(i): case.tile for i, case in enumerate(cases) if case.tile is not None}
    return build_graph(_graph(cases), resolve_target(target), find_compiler(cc), tiles=tiles, halos=_halos(cases))


def _halos(cases: Sequence[LayerCase]) -> dict[str, Pads]:
    """What stands around the output of a 1x1 conv inside a network: the padding of a larger kernel behind it.

    So its rows are one pixel further apart, as they are there; alone it would, on small maps, look up to twice as fast.
    """
    settings = {f"y{i}": case.setting for i, case in enumerate(cases)}
    beside = {name: each for name, each in settings.items() if each.kind == "conv" and each.kernel == (1, 1)}
    return {name: (0, 0, 0, 1) for name, each in beside.items() if each.size != (1, 1)}


def _graph(cases: Sequence[LayerCase]) -> Graph:
    names = {setting: f"x{i}" for i, setting in enumerate(dict.fromkeys(case.setting for case in cases))}
    nodes = [Node(_name(i), _layer_op(case), (names[case.setting],), f"y{i}") for i, case in enumerate(cases)]
    inputs = {name: _input_shape(setting) for setting, name in names.items()}
    return verify_graph(make_graph(inputs, [node.output for node in nodes], nodes), "layer cases")


def _name(index: int) -> str:
    return f"case{index}"


def _input_shape(setting: LayerSetting) -> Shape:
    return (1, setting.in_channels) if setting.kind == "linear" else (1, setting.in_channels, *setting.size)


def _layer_op(case: LayerCase) -> Op:
    setting, bias = case.setting, np.zeros(len(case.weight), np.float32)
    if setting.kind == "linear":
        return Linear(case.weight, bias)
    return Conv(case.weight, bias, setting.stride, setting.pads, setting.dilation, setting.groups)
