"""What must be zero with a filter for its channel to be zero: its bias, and scale and shift of the batch norm behind.

A filter without weights alone leaves a constant channel, and a convolution with padding sees a constant that is not
zero end at the border: such a channel cannot be folded away. With these zero it is, as if the filter were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunemap.core.plan import PlanLayer
from prunemap.pruning.layers import Examples, run_examples
from prunemap.pruning.weights import prunable_weights

KINDS = ("conv", "depthwise", "conv_transpose")
"""What reads a linear layer has no border."""


def companions(module: nn.Module, examples: Examples, choices: Mapping[str, PlanLayer]) -> dict[str, tuple[str, ...]]:
    """Return, for every layer that the plan prunes by ``filter``, the names of those parameters."""
    weights = prunable_weights(module)
    owners = {
        name: weights[name].owner
        for name, choice in choices.items()
        if choice.scheme.name == "filter" and choice.kind in KINDS and weights[name].attribute == "weight"
    }
    if not owners:
        return {}
    behind = _norms_behind(module, examples, owners)
    return {name: (*_affine(name, owner), *_affine(*behind.get(name, ("", None)))) for name, owner in owners.items()}


def _affine(name: str, layer: nn.Module | None) -> list[str]:
    names = ("weight", "bias") if isinstance(layer, _BatchNorm) else ("bias",)
    return [
        f"{name}.{one}" if name else one for one in names if layer is not None and getattr(layer, one, None) is not None
    ]


def _norms_behind(
    module: nn.Module, examples: Examples, owners: Mapping[str, nn.Module]
) -> dict[str, tuple[str, nn.Module]]:
    """Return the batch norm that reads the output of each layer, unless it is used for others too."""
    made: list[tuple[Tensor, str]] = []
    calls: dict[str, list[str]] = {}
    norms = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}

    def layer_hook(name: str) -> Any:
        return lambda layer, inputs, output: made.append((output, name))

    def norm_hook(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.setdefault(name, []).append(next((maker for tensor, maker in made if tensor is inputs[0]), ""))

        return hook

    hooks = [layer.register_forward_hook(layer_hook(name)) for name, layer in owners.items()]
    hooks += [layer.register_forward_hook(norm_hook(name)) for name, layer in norms.items()]
    try:
        run_examples(module, examples)
    finally:
        for one in hooks:
            one.remove()
    return {makers[0]: (name, norms[name]) for name, makers in calls.items() if len(makers) == 1 and makers[0]}
