"""What the latency of a layer depends on, as read from ONNX nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunemap.compiler import read_specs
from prunemap.compiler.onnx.layer_settings import node_setting, recurrent_settings
from tests.networks import OnnxBuilder, save, weight


@pytest.mark.parametrize(
    ("kind", "attributes", "shape", "x", "name"),
    [
        ("conv", {"pads": [1, 1], "strides": [2]}, (8, 4, 3), (1, 4, 50), "conv 3/2 4→8 at 50"),
        ("conv", {"auto_pad": b"SAME_UPPER", "strides": [2, 2]}, (8, 4, 3, 3), (1, 4, 8, 8),
         "conv 3x3/2 4→8 at 8x8, pads 0 0 1 1"),
        ("conv", {"group": 4, "pads": [1] * 4}, (8, 1, 3, 3), (1, 4, 8, 8), "depthwise 3x3/1 4→8 at 8x8"),
        ("conv", {"group": 2, "dilations": [2, 2], "pads": [2] * 4}, (8, 2, 3, 3), (1, 4, 8, 8),
         "conv 3x3/1 4→8 at 8x8, dilation 2x2, 2 groups"),
        ("conv", {"pads": [1] * 6}, (8, 4, 3, 3, 3), (1, 4, 6, 8, 8), "conv 3x3x3/1 4→8 at 6x8x8"),
        ("conv_transpose", {"strides": [2, 2], "pads": [1] * 4}, (8, 4, 4, 4), (1, 4, 7, 7),
         "conv_transpose 4x4/2 4→8 at 7x7"),
        ("conv_transpose", {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}, (8, 4, 3, 3), (1, 4, 7, 7),
         "conv_transpose 3x3/2 4→8 at 7x7"),
        ("conv_transpose", {"strides": [2, 2], "auto_pad": b"SAME_UPPER"}, (8, 4, 3, 3), (1, 4, 7, 7),
         "conv_transpose 3x3/2 4→8 at 7x7, pads 0 0 1 1"),
        ("conv_transpose", {"group": 2, "strides": [2]}, (8, 2, 2), (1, 4, 9), "conv_transpose 2/2 4→8 at 9, 2 groups"),
        ("conv", {"pads": [1] * 3}, (8, 4, 3, 3), (1, 4, 8, 8), "None"),
        ("conv", {}, (8, 4, 3, 3), (1, 4, 8), "None"),
        ("conv_transpose", {"output_shape": [1]}, (8, 4, 3, 3), (1, 4, 8, 8), "None"),
        ("conv", {}, (8, 4, 3, 3), None, "None"),
    ],
)  # fmt: skip
def test_settings_of_convolutions(
    kind: Any, attributes: dict[str, Any], shape: tuple[int, ...], x: tuple[int, ...] | None, name: str
) -> None:
    setting = node_setting(kind, attributes, shape, x, None)
    assert str(setting) == name
    assert setting is None or setting.weight_shape == shape


def test_output_padding_is_a_smaller_pad() -> None:
    how = {"strides": [2, 2], "output_padding": [1, 1]}
    setting = node_setting("conv_transpose", how, (8, 4, 3, 3), (1, 4, 7, 7), None)
    assert setting is not None and setting.pads == (0, 0, -1, -1) and setting.out_size == (16, 16)


@pytest.mark.parametrize(
    ("y", "size"), [((1, 12), (1, 1)), ((1, 20, 12), (1, 20)), ((20, 2, 12), (1, 40)), (None, None), ((), None)]
)
def test_a_linear_layer_counts_the_vectors_of_a_run(y: tuple[int, ...] | None, size: tuple[int, int] | None) -> None:
    setting = node_setting("linear", {}, (12, 8), None, y)
    assert (None if setting is None else setting.size) == size


def test_a_recurrent_layer_is_two() -> None:
    given, state = recurrent_settings("gru", {}, (96, 10), (20, 2, 10))
    assert (str(given), str(state)) == ("linear 10→96 at 40", "gru of 32, 20 steps, batch 2, reset before")
    _, state = recurrent_settings("gru", {"linear_before_reset": 1, "layout": 1}, (96, 10), (2, 20, 10))
    assert str(state) == "gru of 32, 20 steps, batch 2"
    _, state = recurrent_settings("lstm", {}, (128, 10), (20, 1, 10))
    assert str(state) == "lstm of 32, 20 steps"
    assert recurrent_settings("lstm", {}, (128, 10), None) == (None, None)
    assert recurrent_settings("lstm", {}, (127, 10), (20, 1, 10)) == (None, None), "no whole number of gates"


def test_shapes_that_only_the_import_finds_are_known(tmp_path: Path) -> None:
    """A reshape to a computed size, as torch writes between two layers of an LSTM, is more than ONNX infers."""
    b = OnnxBuilder()

    def lstm(x: str, inputs: int, name: str) -> str:
        w, r = (b.constant(weight(b.rng, 32, size)[None]) for size in (inputs, 8))
        x = b.node("Transpose", b.node("LSTM", x, w, r, hidden_size=8, name=name), perm=[0, 2, 1, 3])
        start, middle = b.node("Shape", x, start=0, end=2), b.node("Shape", x, start=2, end=3)
        last = b.node("Mul", middle, b.node("Shape", x, start=3, end=4))
        return b.node(
            "Reshape", x, b.node("Concat", start, b.node("Reshape", last, b.constant(np.array([-1]))), axis=0)
        )

    path = save(b.model([6, 1, 4], lstm(lstm("x", 4, "first"), 8, "second"), rank=3), tmp_path / "m.onnx")
    specs = {spec.name: spec for spec in read_specs(path)}
    assert str(specs["second/recurrent"].setting) == "lstm of 8, 6 steps"
    assert specs["second"].macs == 32 * 8 * 6
