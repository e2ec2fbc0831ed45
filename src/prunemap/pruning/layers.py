"""The layers of a torch module that can be pruned, as LayerSpec, and the plan's choice for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from prunemap.core.layer import LayerKind, LayerSetting, LayerSpec
from prunemap.core.plan import Plan, PlanLayer, resolve_layers

Prunable = nn.Conv2d | nn.Linear


def prunable_modules(module: nn.Module) -> dict[str, Prunable]:
    """Return the convolutions and linear layers by qualified name, in the order they were defined."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Switch every submodule to evaluation without gradients; its own mode is restored afterwards."""
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode


def list_layers(module: nn.Module, example_input: Tensor) -> list[LayerSpec]:
    """Return the layers that a forward pass reaches, in the order it does.

    Args:
        example_input: (N, C, H, W) or whatever the module takes; MACs are counted for one of the N.
    """
    seen: dict[str, LayerSpec] = {}
    hooks = []

    def record(name: str) -> Any:
        def hook(layer: Prunable, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            spec = _describe(name, layer, inputs[0], output)
            earlier = seen.get(name)
            seen[name] = spec if earlier is None else earlier.model_copy(update={"macs": earlier.macs + spec.macs})

        return hook

    for name, layer in prunable_modules(module).items():
        hooks.append(layer.register_forward_hook(record(name)))
    try:
        with evaluation_mode(module):
            module(example_input)
    finally:
        for hook in hooks:
            hook.remove()
    return list(seen.values())


def resolve_plan(plan: Plan, layers: list[LayerSpec]) -> dict[str, PlanLayer]:
    """Return the plan's entry by module name, for the layers that it speaks of.

    Raises:
        UserError: the plan does not fit the layers.
    """
    entries = resolve_layers(plan.layers, layers)
    return {layer.module: entry for layer, entry in zip(layers, entries, strict=True) if entry is not None}


def _describe(name: str, layer: Prunable, given: Tensor, output: Tensor) -> LayerSpec:
    setting = _conv_setting(layer, given) if isinstance(layer, nn.Conv2d) else _linear_setting(layer, output)
    positions = output.numel() // (output.shape[0] * layer.weight.shape[0])
    return LayerSpec(
        name=name,
        module=name,
        kind=layer_kind(layer),
        weight_shape=tuple(layer.weight.shape),
        macs=layer.weight.numel() * positions,
        params=layer.weight.numel(),
        setting=setting,
    )


def layer_kind(layer: Prunable) -> LayerKind:
    """Return what prunemap calls such a layer; depthwise = one input channel per group."""
    if isinstance(layer, nn.Linear):
        return "linear"
    return "depthwise" if layer.groups == layer.in_channels > 1 else "conv"


def _linear_setting(layer: nn.Linear, output: Tensor) -> LayerSetting | None:
    """Return the setting of a layer on one vector per image; on several (tokens) its latency is not modelled yet."""
    if prod(output.shape[1:]) != layer.out_features:
        return None
    return LayerSetting(kind="linear", in_channels=layer.in_features, out_channels=layer.out_features)


def _conv_setting(layer: nn.Conv2d, given: Tensor) -> LayerSetting:
    kernel, stride, dilation = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.dilation)
    return LayerSetting(
        kind=layer_kind(layer),
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel=kernel,
        stride=stride,
        pads=_pads(layer.padding, kernel, dilation),
        dilation=dilation,
        groups=layer.groups,
        size=(given.shape[-2], given.shape[-1]),
    )


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    first, second = values
    return first, second


def _pads(
    padding: str | tuple[int, ...], kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right); of an odd total, ``same`` puts the larger part at the end, as torch does."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        height, width = (step * (size - 1) for step, size in zip(dilation, kernel, strict=True))
        return height // 2, width // 2, height - height // 2, width - width // 2
    top, left = _pair(padding)  # type: ignore[arg-type]
    return top, left, top, left
