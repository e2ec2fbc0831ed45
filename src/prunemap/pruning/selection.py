"""Selection: which weights to prune now, by the plan's densities or by one threshold for all layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from prunemap.core.plan import PlanLayer
from prunemap.core.scheme_spec import DENSE
from prunemap.errors import Problems, UserError
from prunemap.pruning.dead_filters import FilterGraph, Filters, filters_of
from prunemap.pruning.groups import relative_strengths, survival
from prunemap.pruning.layers import Examples
from prunemap.pruning.masks import magnitude_mask
from prunemap.pruning.threshold import Budget, Threshold
from prunemap.pruning.weights import PrunableWeight, prunable_weights
from prunemap.schemes import SCHEMES, why_illegal
from prunemap.schemes.scheme import keep_best

Values = Mapping[str, Tensor]
"""Name of the weight → what its strength is taken of, of the parameter's shape."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The weights that a plan prunes, and what decides how much of each is kept."""

    weights: Mapping[str, PrunableWeight]
    choices: Mapping[str, PlanLayer]
    filters: Filters = field(default_factory=Filters)
    budget: Budget | None = None
    """None = every layer keeps the plan's density."""

    def values(self) -> Values:
        """Return the weights as they are.

        Raises:
            UserError: one is infinite or NaN.
        """
        found = {name: weight.parameter.detach() for name, weight in self.weights.items()}
        spoilt = [name for name, value in found.items() if not value.isfinite().all()]
        if spoilt:
            raise UserError(
                f"model: weights of {', '.join(spoilt[:4])} are infinite or NaN: training has diverged. Nothing was "
                "pruned; go back to the last good checkpoint, with a smaller learning rate or lambda"
            )
        return found

    def relative(self, values: Values) -> dict[str, tuple[Tensor, ...]]:
        """Return the relative strengths of every weight, as schemes see it; shared filters have the mean of theirs."""
        own = {n: relative_strengths(w.seen(values[n]), self.choices[n].scheme) for n, w in self.weights.items()}
        for names in self.shared:
            mean = torch.stack([_of_filters(own[name][0]) for name in sorted(names)]).mean(0)
            own |= {name: (_spread(mean, own[name][0]),) for name in names}
        return own

    def threshold(self, values: Values) -> Threshold:
        """Return the densities as a function of τ."""
        return Threshold(self._survival(values), self._kernels())

    def masks(self, values: Values, left: float = 0.0) -> dict[str, Tensor]:
        """Return the masks of all the weights, of the parameters' shapes; at least one group of each is kept.

        Args:
            left: share of the pruning that is left for later, 0 to 1.
        """
        masks = self._by_plan(values, left) if self.budget is None else self._by_budget(self.budget, values, left)
        return {name: mask.contiguous() for name, mask in masks.items()}

    @property
    def shared(self) -> Sequence[frozenset[str]]:
        """Names of layers that lose the same filters."""
        return self.filters.shared

    def companions(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the masks of the parameters that can be zero with filters, by name."""
        names = self.filters.layers
        alive = {name: self.weights[name].seen(masks[name]).flatten(1).any(1).cpu().numpy() for name in names}
        return {name: torch.from_numpy(kept) for name, kept in self.filters.companions(alive).items()}

    def companion_names(self) -> list[str]:
        """Return the names of those parameters."""
        return sorted(self.companions({name: torch.ones_like(w.parameter) for name, w in self.weights.items()}))

    def _by_plan(self, values: Values, left: float) -> dict[str, Tensor]:
        wanted = {name: self._wanted(name, left) for name in self.weights}
        masks = {n: magnitude_mask(w, self.choices[n], wanted[n], values[n]) for n, w in self.weights.items()}
        relative = self.relative(values) if self.shared else {}
        for name in set().union(*self.shared):
            masks[name] = self.weights[name].stored(_strongest_filters(relative[name][0], wanted[name]))
        _warn_of_single_groups(name for name, mask in masks.items() if mask.sum() > 2 * wanted[name] * mask.numel())
        return masks

    def _by_budget(self, budget: Budget, values: Values, left: float) -> dict[str, Tensor]:
        survivals = self._survival(values)
        threshold = Threshold(survivals, self._kernels())
        start = budget.cost(threshold.densities(0.0))
        tau = threshold.find(Budget(budget.argument, budget.value + max(0.0, start - budget.value) * left, budget.cost))
        densities, masks = threshold.densities(tau), {}
        for name, weight in self.weights.items():
            if name in self._kernels():
                masks[name] = magnitude_mask(weight, self.choices[name], densities[name], values[name])
            else:
                masks[name] = weight.stored(survivals[name].double() >= threshold.of_layer(name, tau))
        _warn_of_single_groups(threshold.single(tau))
        return masks

    def _survival(self, values: Values) -> dict[str, Tensor]:
        return {
            name: survival(self.weights[name].seen(values[name]), self.choices[name].scheme, relative)
            for name, relative in self.relative(values).items()
        }

    def _kernels(self) -> dict[str, int]:
        return {n: choice.weight_shape[1] for n, choice in self.choices.items() if choice.scheme.name == "pattern"}

    def _wanted(self, name: str, left: float) -> float:
        """Return the plan's density, the largest of those who share filters, while ``left`` is still to be pruned."""
        partners = next((names for names in self.shared if name in names), (name,))
        density = max(self.choices[partner].density for partner in partners)
        return min(density + (1 - density) * left, SCHEMES[self.choices[name].scheme.name].max_density)


def select(
    module: nn.Module, examples: Examples, choices: Mapping[str, PlanLayer], network: FilterGraph | None = None
) -> Selection:
    """Return the selection of what the plan prunes.

    Args:
        choices: the plan's entry by the name of the weight.
        network: see :func:`filters_of`.

    Raises:
        UserError: a layer cannot have its scheme at its density; all such are listed.
    """
    weights, problems = prunable_weights(module), Problems("plan: it cannot be applied")
    pruned = {name: choice for name, choice in choices.items() if choice.scheme != DENSE}
    for name, choice in pruned.items():
        why = why_illegal(choice.scheme, choice.weight_shape, choice.density)
        if why is None and weights[name].computed:
            why = "its weight is computed by a parametrization (such as weight norm); remove that first"
        if why is not None:
            problems.add(f"layer {name!r} {list(choice.weight_shape)}: {why}")
    problems.raise_if_any()
    return Selection({name: weights[name] for name in pruned}, pruned, filters_of(module, examples, pruned, network))


def _of_filters(seen: Tensor) -> Tensor:
    """Return one value per filter of what is the same all over each filter."""
    return seen.flatten(1)[:, 0]


def _spread(filters: Tensor, like: Tensor) -> Tensor:
    return filters.reshape(-1, *[1] * (like.ndim - 1)).expand(like.shape)


def _strongest_filters(relative: Tensor, density: float) -> Tensor:
    scores = _of_filters(relative).cpu().numpy()
    kept = keep_best(scores, np.ones(scores.shape, np.int64), density)
    return _spread(torch.from_numpy(kept).to(relative.device), relative)


def _warn_of_single_groups(names: Iterable[str]) -> None:
    listed = list(names)
    if listed:
        warnings.warn(
            f"at such a density layers would lose every weight; one group is kept of: {', '.join(listed)}",
            stacklevel=4,
        )
