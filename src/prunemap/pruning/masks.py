"""Masks of the pruned weights of a torch module, made by the schemes of :mod:`prunemap.schemes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import PlanLayer
from prunemap.errors import InternalError
from prunemap.pruning.weights import PrunableWeight, prunable_weights
from prunemap.schemes import ArrayOps, make_mask

Masks = Mapping[str, Tensor]
"""Name of the weight → bool tensor of the parameter's shape, True = kept. Who is not named keeps every weight.

Beside weights, parameters that are zero with a pruned filter, by their qualified names.
"""


class Held(Protocol):
    """A parameter that is held at zero where it is pruned."""

    @property
    def parameter(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class NamedParameter:
    """A parameter by its qualified name."""

    module: nn.Module
    name: str

    @property
    def parameter(self) -> Tensor:
        """The parameter as it is now."""
        return self.module.get_parameter(self.name)


class TorchOps:
    """ArrayOps for torch: what a scheme's view needs to be applied to tensors, gradients included."""

    def pad(self, array: Any, after: Sequence[int]) -> Any:
        return functional.pad(array, [n for count in reversed(after) for n in (0, count)])

    def permute(self, array: Any, axes: Sequence[int]) -> Any:
        return array.permute(*axes)

    def expand(self, array: Any, shape: Sequence[int]) -> Any:
        return array.expand(*shape)


TORCH: ArrayOps = TorchOps()


@dataclass(frozen=True)
class Kept:
    """Shares that masks keep of some layers, 0 to 1."""

    weights: float
    macs: float


def magnitude_mask(weight: PrunableWeight, choice: PlanLayer, density: float, values: Tensor) -> Tensor:
    """Return the mask of one weight by its scheme's own keep rule, of the parameter's shape.

    Args:
        values: what the magnitudes are taken of, of the parameter's shape.
    """
    seen = weight.seen(values.detach())
    mask = torch.from_numpy(make_mask(seen.float().cpu().numpy(), choice.scheme, density))
    return weight.stored(mask).to(seen.device)


def held_parameters(module: nn.Module, names: Iterable[str]) -> dict[str, Held]:
    """Return the parameters that masks speak of."""
    weights = prunable_weights(module)
    return {name: weights.get(name) or NamedParameter(module, name) for name in names}


def apply_masks(module: nn.Module, masks: Masks, optimizer: Optimizer | None = None) -> None:
    """Set the pruned weights to zero; see :func:`hold_zeros`."""
    if masks:
        hold_zeros(held_parameters(module, masks), masks, optimizer)


@torch.no_grad()
def hold_zeros(held: Mapping[str, Held], masks: Masks, optimizer: Optimizer | None = None) -> None:
    """Set the pruned weights to zero, and what an optimizer remembers of them: momentum, averages of gradients.

    What it remembers stays on the device of the training when the module moves on.
    """
    for name, mask in masks.items():
        parameter, pruned = held[name].parameter, ~mask
        parameter.masked_fill_(pruned, 0.0)
        for value in optimizer.state.get(parameter, {}).values() if optimizer else ():
            if isinstance(value, Tensor) and value.shape == pruned.shape:
                value.masked_fill_(pruned.to(value.device), 0.0)


def check_zeros(module: nn.Module, masks: Masks) -> None:
    """Check that every pruned weight is zero.

    Raises:
        InternalError: one is not.
    """
    for name, held in held_parameters(module, masks).items():
        if held.parameter.detach()[~masks[name]].any():
            raise InternalError(f"pruned weights of layer {name!r} are not zero any more")


def kept(masks: Masks, layers: Iterable[LayerSpec]) -> Kept:
    """Return what the masks keep of ``layers``; all of none."""
    layers = list(layers)
    shares = [_share(masks[layer.module]) if layer.module in masks else 1.0 for layer in layers]

    def share(sizes: list[int]) -> float:
        return sum(share * size for share, size in zip(shares, sizes, strict=True)) / sum(sizes) if any(sizes) else 1.0

    return Kept(weights=share([layer.params for layer in layers]), macs=share([layer.macs for layer in layers]))


def _share(mask: Tensor) -> float:
    return int(mask.sum()) / mask.numel()
