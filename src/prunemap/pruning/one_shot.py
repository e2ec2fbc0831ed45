"""One-shot magnitude pruning of a torch module by a plan."""

from __future__ import annotations

from torch import Tensor, nn

from prunemap.core.plan import Plan
from prunemap.pruning.layers import list_layers, resolve_plan
from prunemap.pruning.masks import Masks, apply_masks, make_masks


def prune(module: nn.Module, plan: Plan, example_input: Tensor) -> Masks:
    """Set the weights that the plan prunes to zero, in place; return the masks, which :func:`train` keeps.

    Args:
        example_input: one input, such as (1, C, H, W); it tells the order of the layers.

    Raises:
        UserError: the plan does not fit the module, or a layer cannot have its scheme.
    """
    masks = make_masks(module, resolve_plan(plan, list_layers(module, example_input)))
    apply_masks(module, masks)
    return masks
