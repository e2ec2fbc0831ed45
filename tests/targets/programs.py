"""Programs with every kernel over edge shapes, and whole networks, for machines that are not this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, Graph
from prunemap.exporting.reference import OutputSample, Reference
from prunemap.runtime import Program
from prunemap.targets import TARGETS
from tests.kernels.cases import all_cases, make_batch_graph, make_case_graph, make_chain_graph, spread_tiles
from tests.kernels.general_cases import make_general_graph
from tests.networks import OnnxBuilder, save

MAKERS = {
    "layers": lambda: make_case_graph(all_cases()),
    "chains": make_chain_graph,
    "batch": make_batch_graph,
    "general": make_general_graph,
}
"""Graphs that together need every kernel."""
FEW = {"few": lambda: make_case_graph([*all_cases()[::7], *[case for case in all_cases() if case.linear][::2]])}
"""What runs without --whole."""


@dataclass(frozen=True)
class Subject:
    """A program, its inputs, and what the interpreter makes of them."""

    maker: str
    shift: int
    graph: Graph
    program: Program
    inputs: Mapping[str, AnyArray]
    expected: Sequence[AnyArray]

    @property
    def unchecked(self) -> Reference:
        """A reference that outputs are not compared with."""
        return Reference("", tuple(OutputSample(1, (), 1.0) for _ in self.program.manifest.outputs))

    def check_families(self) -> None:
        """Check that the program has every kernel that its graph is there for."""
        if self.maker == "layers" and self.shift == 1:
            assert _kernel_families(self.program) >= FAMILIES
        if self.maker in FEW:
            assert _kernel_families(self.program) >= FEW_FAMILIES

    def check(self, outputs: Sequence[AnyArray], where: str) -> None:
        """Compare outputs: floats as closely as sums of some hundred products allow, everything else exactly."""
        for name, want, got in zip(self.graph.outputs, self.expected, outputs, strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            if want.dtype == np.float32:
                np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-4, err_msg=f"{name} {where}")
            else:
                np.testing.assert_array_equal(got, want, err_msg=f"{name} {where}")


def make_subject(maker: str, target: str, shift: int) -> Subject:
    """Compile a graph of MAKERS or FEW for a target; ``shift`` picks other tiles.

    Masks and pick lists count as cheap here: where they are not, no usual layer would have them tried.
    """
    graph, inputs = (MAKERS | FEW)[maker]()
    machine = replace(TARGETS[target], expand_cost=1.0, pick_cost=1.0)
    tiles = spread_tiles(graph, machine, shift)
    program = build_graph(graph, machine, find_compiler(), tiles=tiles)
    with np.errstate(all="ignore"):
        return Subject(maker, shift, graph, program, inputs, interpret(graph, inputs))


def _kernel_families(program: Program) -> set[str]:
    """Return the kernels of the layers with weights, without their sizes."""
    return {choice.kernel.rstrip("0123456789xic_") for choice in program.manifest.layers}


FAMILIES = {
    *("f32_conv", "f32_conv_masked", "f32_linear", "f32_linear_masked", "f32_linear_pick", "f32_depthwise_any"),
    *(f"f32_depthwise_{k}s" for k in (3, 5, 7, 9)),
    *(f"f32_depthwise_listed_{k}s" for k in (3, 5)),
}
"""What the graph ``layers`` must need on a machine with vectors of four."""
FEW_FAMILIES = {"f32_conv", "f32_conv_masked", "f32_linear", "f32_linear_masked", "f32_linear_pick", "f32_depthwise_3s"}
"""What the small set must need."""

_LITE0 = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4))
_LITE0_LAST = (3, 1, 6, 320, 1)


def efficientnet_lite0(size: int = 224, scheme: str = "punched:8x4") -> onnx.ModelProto:
    """EfficientNet-Lite0 (Tan & Le, 2019; Lite: no squeeze, ReLU6) with random weights, its 1x1 convolutions pruned."""
    b = OnnxBuilder()
    zero, six = b.constant(np.asarray(0, np.float32)), b.constant(np.asarray(6, np.float32))

    def conv(x: str, out: int, inputs: int, k: int, stride: int = 1, group: int = 1, sparse: str = "dense") -> str:
        shape, pads = (out, inputs // group, k, k), [k // 2] * 4
        return b.conv(x, shape, scheme=sparse, pads=pads, strides=[stride, stride], group=group)

    clip = partial(b.node, "Clip")
    x, channels = clip(conv("x", 32, 3, 3, 2), zero, six), 32
    for kernel, first_stride, expand, out, repeats in (*_LITE0, _LITE0_LAST):
        for stride in (first_stride, *[1] * (repeats - 1)):
            wide, y = channels * expand, x
            if expand > 1:
                y = clip(conv(y, wide, channels, 1, sparse=scheme), zero, six)
            y = clip(conv(y, wide, wide, kernel, stride, wide), zero, six)
            y = conv(y, out, wide, 1, sparse=scheme)
            x, channels = (b.node("Add", y, x) if stride == 1 and out == channels else y), out
    x = clip(conv(x, 1280, channels, 1, sparse=scheme), zero, six)
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    weights = b.rng.standard_normal((1000, 1280), np.float32) / np.float32(np.sqrt(1280))
    y = b.node("Gemm", x, b.constant(weights), b.constant(np.zeros(1000, np.float32)), transB=1)
    return b.model([1, 3, size, size], y)


def whole_network(name: str, path: Path) -> Path:
    """Write the ONNX file of a network of real size, ``resnet20`` or ``efficientnet-lite0``."""
    if name == "efficientnet-lite0":
        return save(efficientnet_lite0(), path)
    torch = pytest.importorskip("torch")
    from prunemap.models import build_model
    from prunemap.pruning import export_onnx

    export_onnx(build_model("resnet20", (3, 32, 32), 10), torch.zeros(1, 3, 32, 32), path)
    return path
