"""What the policy is told of layers and actions: the state of the search, all in numbers of about one."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from prunemap.core.layer import LayerKind, LayerSpec
from prunemap.mapping.units import Choice, Unit, latency_of
from prunemap.schemes import SCHEMES

KINDS: tuple[str, ...] = get_args(LayerKind)
SCHEME_NAMES = tuple(SCHEMES)

Floats = NDArray[np.float32]


def decision_features(units: Sequence[Unit]) -> Floats:
    """Return (decisions, features): kind, shape, kernel, stride, MACs, latency, position, and whether of several."""
    dense_us = [latency_of(unit.dense) for unit in units]
    all_us, all_macs = sum(dense_us), sum(layer.spec.macs for unit in units for layer in unit.layers)
    rows = []
    for i, (unit, latency_us) in enumerate(zip(units, dense_us, strict=True)):
        spec = unit.layers[0].spec
        macs = sum(layer.spec.macs for layer in unit.layers)
        shares = (macs / max(all_macs, 1), latency_us / all_us)
        rows.append(
            [*(spec.kind == kind for kind in KINDS), *_shape(spec), *shares, i / len(units), unit.filters == "shared"]
        )
    return np.array(rows, np.float32)


def _shape(spec: LayerSpec) -> tuple[float, ...]:
    """Return filters, channels, kernel and stride, in powers of two, and the size of the output."""
    outputs, inputs = spec.weight_shape[:2]
    setting = spec.setting
    stride = prod(setting.stride) if setting is not None else 1
    size = prod(setting.out_size) if setting is not None else 1
    return (
        log2(outputs) / 10,
        log2(inputs) / 10,
        log2(prod(spec.weight_shape[2:])) / 5,
        log2(stride) / 5,
        log2(size) / 15,
    )


def action_features(
    units: Sequence[Unit], choices: Sequence[Sequence[Choice]], largest: int, budget_us: float
) -> tuple[Floats, Floats, Floats]:
    """Return the features (decisions, largest, features), and (decisions, largest) latency and energy of every action.

    Latencies are shares of the budget; energies are summed over the layers of an action.

    Features: scheme, block, density, energy kept, latency beside dense; all zero for ``every layer by itself``.
    """
    features = np.zeros((len(units), largest, len(SCHEME_NAMES) + 5), np.float32)
    costs, keeps = (np.zeros((len(units), largest), np.float32) for _ in range(2))
    for i, (unit, row) in enumerate(zip(units, choices, strict=True)):
        for k, choice in enumerate(row):
            if choice:
                features[i, k] = _action(unit, choice)
                costs[i, k] = latency_of(choice) / budget_us
                keeps[i, k] = sum(option.energy for option in choice)
    return features, costs, keeps


def _action(unit: Unit, choice: Choice) -> list[float]:
    scheme = choice[0].scheme
    filters, channels = scheme.block or (1, 1)
    energy = sum(option.energy for option in choice) / len(choice)
    return [
        *(float(scheme.name == name) for name in SCHEME_NAMES),
        log2(filters) / 5,
        log2(channels) / 5,
        choice[0].density,
        energy,
        latency_of(choice) / latency_of(unit.dense),
    ]
