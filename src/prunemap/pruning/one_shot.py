"""One-shot magnitude pruning of a torch module by a plan."""

from __future__ import annotations

from torch import nn

from prunemap.core.plan import Plan
from prunemap.pruning.dead_filters import FilterGraph
from prunemap.pruning.layers import Examples, list_layers, resolve_plan
from prunemap.pruning.masks import Masks, apply_masks
from prunemap.pruning.selection import select


def prune(module: nn.Module, plan: Plan, example_inputs: Examples, network: FilterGraph | None = None) -> Masks:
    """Set the weights that the plan prunes to zero, in place; return the masks, which :func:`train` keeps.

    Layers pruned by ``filter`` whose outputs are added lose the same filters; the bias of a filter and the batch norms
    behind it are set to zero with it.

    Args:
        example_inputs: one input, such as (1, C, H, W); it tells the order of the layers.
        network: spares exporting the module for every plan with filters, see :func:`filter_graph`.

    Raises:
        UserError: the plan does not fit the module, or a layer cannot have its scheme.
    """
    choices = resolve_plan(plan, list_layers(module, example_inputs))
    selection = select(module, example_inputs, choices, network)
    masks = selection.masks(selection.values())
    masks = {name: mask for name, mask in (masks | selection.companions(masks)).items() if not mask.all()}
    apply_masks(module, masks)
    return masks
