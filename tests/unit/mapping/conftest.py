"""Synthetic networks and devices: latency = 1 µs + MACs·density / 50,000 × what the device makes of the scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import pytest

from prunemap.compiler import ModelLayer
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.wiring import ChannelSource, Wiring
from prunemap.mapping import MAPPERS
from tests.made_up_table import made_up_table

RULES = MAPPERS["rules"]
PRUNABLE = ("wide", "point", "deep")
"""The layers of the network that rules may prune."""
ONLY_FILTER = {"unstructured": 5.0, "pattern": 5.0, "punched": 5.0, "block": 5.0}
COARSE = {"unstructured": 5.0, "pattern": 5.0, "punched:2x1": 3.0, "punched:4x1": 2.0, "block": 2.0}
SPARSE_NEVER_PAYS = {"unstructured": 50.0, "pattern": 50.0, "punched": 50.0, "block": 50.0, "filter": 50.0}
"""How many times slower than others a device makes schemes."""
CHAIN = Wiring(
    sources={
        reader: (ChannelSource(frozenset({maker}), 1.0),)
        for reader, maker in (
            ("wide", "stem"),
            ("depthwise", "wide"),
            ("point", "wide"),
            ("deep", "point"),
            ("classifier", "deep"),
        )
    }
)
"""Of the network: who reads whose filters."""
MakeTable = Callable[[list[ModelLayer], Mapping[str, float]], LatencyTable]


def layer(name: str, setting: LayerSetting, seed: int) -> ModelLayer:
    shape = setting.weight_shape
    rng = np.random.default_rng(seed)
    strength = np.exp(rng.normal(0, 0.5, (shape[0], shape[1], *[1] * (len(shape) - 2))))
    weight = (rng.standard_normal(shape) * strength).astype(np.float32)
    spec = LayerSpec(
        name=name, kind=setting.kind, weight_shape=shape, macs=setting.macs, params=prod(shape), setting=setting
    )
    return ModelLayer(spec=spec, weight=weight, stored=StoredWeight(spec.name))


def conv(name: str, inputs: int, outputs: int, kernel: int, size: int, seed: int) -> ModelLayer:
    pads = (kernel // 2,) * 4
    setting = LayerSetting(
        kind="conv", in_channels=inputs, out_channels=outputs, kernel=(kernel, kernel), pads=pads, size=(size, size)
    )
    return layer(name, setting, seed)


@pytest.fixture
def network() -> list[ModelLayer]:
    """Stem, 3x3, depthwise, 1x1, 3x3, classifier."""
    depthwise = LayerSetting(
        kind="depthwise",
        in_channels=32,
        out_channels=32,
        kernel=(3, 3),
        pads=(1, 1, 1, 1),
        groups=32,
        size=(28, 28),
    )
    return [
        conv("stem", 3, 32, 3, 28, 1),
        conv("wide", 32, 32, 3, 28, 2),
        layer("depthwise", depthwise, 3),
        conv("point", 32, 64, 1, 28, 4),
        conv("deep", 64, 64, 3, 14, 5),
        layer("classifier", LayerSetting(kind="linear", in_channels=64, out_channels=10), 6),
    ]


@pytest.fixture
def make_table() -> MakeTable:
    """Build a table of a device; factors by scheme, or by scheme name, 1 where not given."""

    def make(layers: list[ModelLayer], factors: Mapping[str, float]) -> LatencyTable:
        return made_up_table((each.spec.setting for each in layers), factors)

    return make
