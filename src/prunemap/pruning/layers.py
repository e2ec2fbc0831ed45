"""The layers of a torch module that can be pruned, as LayerSpec, and the plan's choice for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import Plan, PlanLayer, resolve_layers
from prunemap.errors import UserError
from prunemap.pruning.training.device import device_of
from prunemap.pruning.weights import CELLS, RECURRENT, PrunableWeight, prunable_weights

Examples = Tensor | Sequence[Any] | Mapping[str, Any]
"""What a module is called with: one tensor, its arguments in order, or its arguments by name."""


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


def call_arguments(module: nn.Module, examples: Examples) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the examples in the order in which ``forward`` takes them, and those that it takes by name alone.

    Tensors are where the module is.

    Raises:
        UserError: it takes no such arguments.
    """
    device = device_of(module)
    if isinstance(examples, Tensor):
        return (examples.to(device),), {}
    if not isinstance(examples, Mapping):
        return tuple(_on(device, value) for value in examples), {}
    try:
        bound = signature(module.forward).bind(**{name: _on(device, value) for name, value in examples.items()})
        return bound.args, bound.kwargs
    except TypeError as error:
        raise UserError(
            f"example_inputs: {', '.join(examples) or 'none'} do not fit the module's forward: {error}"
        ) from None


def run_examples(module: nn.Module, examples: Examples) -> None:
    """Run the module in evaluation mode, where it is, for what hooks see."""
    arguments, named = call_arguments(module, examples)
    with evaluation_mode(module):
        module(*arguments, **named)


def list_layers(module: nn.Module, example_inputs: Examples) -> list[LayerSpec]:
    """Return the layers that a forward pass reaches, in the order it does.

    An LSTM or GRU has a layer per gate weight, attention one per projection.

    Args:
        example_inputs: (N, C, H, W) or whatever the module takes; MACs are counted for one of the N.
    """
    seen: dict[str, LayerSpec] = {}
    hooks = []
    owned: dict[nn.Module, list[PrunableWeight]] = {}
    for weight in prunable_weights(module).values():
        owned.setdefault(weight.owner, []).append(weight)

    def hook(owner: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        for weight in owned[owner]:
            spec = _describe(weight, (*inputs, *named.values()), output)
            earlier = seen.get(weight.name)
            macs = spec.macs + (earlier.macs if earlier else 0)
            seen[weight.name] = (earlier or spec).model_copy(update={"macs": macs})

    for owner in owned:
        hooks.append(owner.register_forward_hook(hook, with_kwargs=True))
    try:
        run_examples(module, example_inputs)
    finally:
        for one in hooks:
            one.remove()
    return list(seen.values())


def resolve_plan(plan: Plan, layers: list[LayerSpec]) -> dict[str, PlanLayer]:
    """Return the plan's entry by the name of the weight, for the layers that it speaks of.

    Raises:
        UserError: the plan does not fit the layers.
    """
    entries = resolve_layers(plan.layers, layers)
    return {layer.module: entry for layer, entry in zip(layers, entries, strict=True) if entry is not None}


def _on(device: torch.device, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    return value.to(device=device) if isinstance(value, PackedSequence) else value  # type: ignore[call-arg]


def _describe(weight: PrunableWeight, given: tuple[Any, ...], output: Any) -> LayerSpec:
    parameter = weight.parameter
    return LayerSpec(
        name=weight.name,
        module=weight.name,
        kind=weight.kind,
        weight_shape=tuple(weight.seen(parameter).shape),
        macs=round(parameter.numel() * _uses(weight, given, output)),
        params=parameter.numel(),
        setting=_setting(weight, given[0], output),
    )


def _uses(weight: PrunableWeight, given: tuple[Any, ...], output: Any) -> float:
    """Return how often one example multiplies by each weight."""
    owner, first = weight.owner, given[0]
    if isinstance(owner, CELLS):
        return 1
    if isinstance(owner, RECURRENT):
        return len(first.batch_sizes) if isinstance(first, PackedSequence) else _tokens(first, owner.batch_first)
    if isinstance(owner, nn.MultiheadAttention):
        query, key, value = (_tokens(each, owner.batch_first) for each in given[:3])
        tokens = {"in_proj_weight": (query + key + value) / 3, "k_proj_weight": key, "v_proj_weight": value}
        return tokens.get(weight.attribute, query)
    if weight.kind == "conv_transpose":
        return int(first.shape[2:].numel())
    outputs = output.shape[-1] if weight.kind == "linear" else output.shape[1]
    return float(output.numel() / (output.shape[0] * outputs))


def _tokens(given: Tensor, batch_first: bool) -> int:
    """Return the length of a sequence (L, N, features), (N, L, features) or (L, features)."""
    return given.shape[1 if batch_first and given.ndim == 3 else 0]


def _setting(weight: PrunableWeight, given: Any, output: Any) -> LayerSetting | None:
    """Return what the latency depends on; None for layers that plans are not made for in torch."""
    layer = weight.owner
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return _conv_setting(weight, layer, given)
    if isinstance(layer, nn.Linear) and prod(output.shape[1:]) == layer.out_features:
        return LayerSetting(kind="linear", in_channels=layer.in_features, out_channels=layer.out_features)
    return None


def _conv_setting(weight: PrunableWeight, layer: nn.Conv1d | nn.Conv2d, given: Tensor) -> LayerSetting:
    return LayerSetting(
        kind=weight.kind,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        kernel=layer.kernel_size,
        stride=layer.stride,
        pads=_pads(layer.padding, layer.kernel_size, layer.dilation),
        dilation=layer.dilation,
        groups=layer.groups,
        size=tuple(given.shape[2:]),
    )


def _pads(padding: str | Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return all begins, then all ends; of an odd total, ``same`` puts the larger part at the end, as torch does."""
    if padding == "valid":
        return (0,) * (2 * len(kernel))
    if padding == "same":
        totals = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        return (*(total // 2 for total in totals), *(total - total // 2 for total in totals))
    return (*map(int, padding), *map(int, padding))
