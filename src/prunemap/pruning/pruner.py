"""Pruner: pruning inside the user's own training loop."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan
from prunemap.errors import UserError
from prunemap.pruning.admm import Admm
from prunemap.pruning.export import convert_module
from prunemap.pruning.latency import Latency, predicted_latency
from prunemap.pruning.layers import Examples, list_layers, resolve_plan
from prunemap.pruning.masks import Masks, check_zeros, held_parameters, hold_zeros
from prunemap.pruning.penalty import Reweighted, check_step, suggested_lambda
from prunemap.pruning.prune_config import PruneConfig
from prunemap.pruning.pruner_state import PrunerProgress, PrunerState, check_state
from prunemap.pruning.rates import PrunedRates, rates_of
from prunemap.pruning.selection import Selection, select
from prunemap.pruning.threshold import budget_of
from prunemap.pruning.training.distributed import agree, unwrapped


class Penalty(Protocol):
    """What is added to the loss, times λ or ρ; its state is computed anew at each update."""

    state: dict[str, Tensor]

    def update(self) -> None: ...

    def penalty(self) -> Tensor: ...


class Pruner:
    """Prunes a module by a plan while the user trains it::

        pruner = prunemap.Pruner(model, plan, example_inputs, optimizer=optimizer)
        ...
            (loss(model(x), y) + pruner.penalty()).backward()
            optimizer.step()
            pruner.step()
        ...
        pruner.finalize()       # from here on the pruned weights are zero; train on, with the same three lines
        pruner.export("pruned.onnx")

    With gradients accumulated over several batches, divide the penalty like the loss and call ``step`` after the
    optimizer. The model may be compiled, run under autocast, or be wrapped for data-parallel training; then all
    processes make the same calls and get the same masks.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        example_inputs: Examples,
        *,
        optimizer: Optimizer | None = None,
        latency: LatencyTable | str | Path | Latency | None = None,
        **settings: Any,
    ) -> None:
        """Check everything that can be known now; ``one_shot`` prunes now, the other methods while training.

        Args:
            example_inputs: what the model is called with: one tensor, its arguments in order or by name.
            optimizer: has what it remembers of pruned weights (momentum, …) set to zero with them; the λ of the
                reweighted penalty follows from its learning rate and ``steps`` where it is not given.
            latency: what predicts ms, needed with ``latency_ms``: a table of `prunemap profile` or its file, or a
                function of the densities by layer.
            settings: the fields of :class:`PruneConfig`, such as ``method="gradual"``, ``steps=5000``, ``density=0.2``.

        Raises:
            UserError: the plan does not fit the model, a layer cannot have its scheme, a setting is not allowed, the
                table lacks layers or schemes, the budget cannot be met, or the penalty is too strong for the learning
                rate.
        """
        self.config = PruneConfig.of(settings)
        self.masks: dict[str, Tensor] = {}
        self.finalized = False
        self._model, self._examples, self._optimizer = unwrapped(model), example_inputs, optimizer
        self._steps, self._used = 0, False
        self.strength = self._suggested_strength()
        if optimizer is not None:
            self.check_learning_rate(_largest_rate(optimizer))
        self._layers = list_layers(self._model, example_inputs)
        self._selection = self._select(plan, latency)
        self._held = held_parameters(self._model, [*self._selection.weights, *self._selection.companion_names()])
        self._penalty = self._make_penalty()
        if self.config.method in ("one_shot", "gradual"):
            self._prune(left=1.0 if self.config.method == "gradual" else 0.0)

    @property
    def layers(self) -> list[LayerSpec]:
        """The layers of the model."""
        return self._layers

    def penalty(self) -> Tensor:
        """Return what to add to the loss, a scalar; zero for methods without a penalty and once finalized."""
        self._used = True
        self._follow_device()
        if self._penalty is None or self.finalized:
            return torch.zeros((), device=next(iter(self._selection.weights.values())).parameter.device)
        return self.strength * self._penalty.penalty()

    def step(self) -> None:
        """Hold the zeros, after each step of the optimizer; at the updates compute penalty or masks anew."""
        self.hold()
        self.advance()

    def hold(self) -> None:
        """Set the pruned weights to zero again, and what the optimizer remembers of them."""
        self._follow_device()
        hold_zeros(self._held, self.masks, self._optimizer)

    def advance(self) -> None:
        """Count a step; update where one is due.

        Raises:
            UserError: weights are infinite or NaN; nothing was changed.
        """
        self._steps += 1
        self._follow_device()
        due = self._steps % self.config.update_every == 0 and self._steps <= self.config.steps
        if self.finalized or not due:
            return
        if self._penalty is not None:
            self._warn_of_learning_rate()
            if not self._used:
                warnings.warn("Pruner.penalty() was never called; add it to the loss", stacklevel=3)
            self._penalty.update()
            agree(self._penalty.state.values())
        elif self.config.method == "gradual":
            self._prune(left=max(0.0, 1 - self._steps / self.config.steps) ** 3)

    def check_learning_rate(self, lr: float) -> None:
        """Check that the penalty is not too strong for a learning rate.

        Raises:
            UserError: it is.
        """
        if self.config.method == "reweighted":
            check_step(lr, self.strength)

    def use(self, optimizer: Optimizer) -> None:
        """Take another optimizer, as in the constructor."""
        self._optimizer = optimizer
        self.strength = self._suggested_strength()

    def finalize(self) -> PrunedRates:
        """Prune: from now on the masks stay as they are; return what every layer keeps (print it).

        Raises:
            UserError: weights are infinite or NaN; nothing was changed.
        """
        if not self.finalized:
            if self.config.method != "one_shot":
                self._prune(left=0.0)
            self.finalized = True
        return self.rates()

    def rates(self) -> PrunedRates:
        """Return what every layer keeps by the masks of now."""
        rates = rates_of(self.masks, self._selection.choices, self._layers)
        if self.config.latency_ms is None or self._selection.budget is None:
            return rates
        predicted_ms = self._selection.budget.cost({layer.name: layer.density for layer in rates.layers})
        return rates.model_copy(update={"latency_ms": predicted_ms})

    def export(self, path: str | Path) -> None:
        """Write the pruned model as ONNX, at the sizes of ``example_inputs``, layers named as their modules.

        Raises:
            UserError: it is not finalized, or torch cannot export it.
            InternalError: a pruned weight is not zero any more: ``step`` was not called after the optimizer.
        """
        if not self.finalized:
            raise UserError("Pruner.export: nothing is pruned for good yet; call finalize() first")
        self._follow_device()
        check_zeros(self._model, self.masks)
        convert_module(self._model, self._examples, path)

    @property
    def state(self) -> PrunerState:
        """All that a pruner made with the same arguments needs to go on; the tensors are no copies."""
        choices = {name: f"{each.scheme} {each.density:.6g}" for name, each in self._selection.choices.items()}
        progress = PrunerProgress(config=self.config, choices=choices, steps=self._steps, finalized=self.finalized)
        return PrunerState(progress, self.masks, {} if self._penalty is None else self._penalty.state)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state: tensors and strings only."""
        return self.state.to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``; the weights are the model's own to load.

        Raises:
            UserError: it is not of a pruner with the same settings, layers and shapes; nothing was changed.
        """
        self.restore(PrunerState.of_dict(state))

    def restore(self, found: PrunerState) -> None:
        """See :meth:`load_state_dict`."""
        mine = self.state
        check_state(found, mine, {name: held.parameter for name, held in self._held.items()})
        self._steps, self.finalized = found.progress.steps, found.progress.finalized
        self._follow_device()
        if not found.masks:
            self.masks.clear()
        self._set_masks(found.masks)
        for name, value in found.penalty.items():
            mine.penalty[name].copy_(value)
        self.hold()

    def _select(self, plan: Plan, latency: LatencyTable | str | Path | Latency | None) -> Selection:
        choices = resolve_plan(plan, self._layers)
        selection = select(self._model, self._examples, choices)
        if not selection.weights:
            raise UserError("plan: it prunes nothing, every layer is dense")
        if isinstance(latency, LatencyTable | str | Path):
            latency = predicted_latency(self._model, self._examples, choices, latency)
        budget = budget_of(self.config, self._layers, set(selection.weights), latency)
        if budget is None:
            return selection
        threshold = selection.threshold(selection.values())
        least = budget.cost(threshold.densities(threshold.highest))
        if least > budget.value:
            raise UserError(
                f"{budget.argument}: got {budget.value:g}, the least possible is {least:.4g}: one group of every layer"
            )
        return replace(selection, budget=budget)

    def _suggested_strength(self) -> float:
        """Return what the config says or, for the reweighted penalty under SGD, what suits the learning rate."""
        if self.config.lam is not None or self.config.method != "reweighted" or not isinstance(self._optimizer, SGD):
            return self.config.strength
        momentum = max(float(group["momentum"]) for group in self._optimizer.param_groups)
        return suggested_lambda(_largest_rate(self._optimizer), momentum, self.config.steps)

    def _make_penalty(self) -> Penalty | None:
        if self.config.method not in ("reweighted", "admm"):
            return None
        penalty: Penalty = (Reweighted if self.config.method == "reweighted" else Admm)(self._selection)
        agree(penalty.state.values())
        return penalty

    def _prune(self, left: float) -> None:
        self._follow_device()
        masks = self._selection.masks(self._selection.values(), left)
        self._set_masks({**masks, **self._selection.companions(masks)})
        agree(self.masks.values())  # before anything is set to zero by them
        hold_zeros(self._held, self.masks, self._optimizer)

    def _set_masks(self, masks: Masks) -> None:
        """Take over the masks, in place where there are some: a recorded step keeps reading the same memory."""
        for name, mask in masks.items():
            parameter = self._held[name].parameter
            self.masks.setdefault(name, torch.empty_like(parameter, dtype=torch.bool)).copy_(mask)

    def _follow_device(self) -> None:
        """Move the state to where the model is, which may have been moved since."""
        device = next(iter(self._selection.weights.values())).parameter.device
        for state in (self.masks, {} if self._penalty is None else self._penalty.state):
            for name, value in state.items():
                if value.device != device:
                    state[name] = value.to(device)

    def _warn_of_learning_rate(self) -> None:
        """Only warn, since the rate may have risen in the middle of a run."""
        try:
            if self._optimizer is not None:
                self.check_learning_rate(_largest_rate(self._optimizer))
        except UserError as error:
            warnings.warn(str(error), stacklevel=4)


def _largest_rate(optimizer: Optimizer) -> float:
    """Return the largest rate, before any scheduler has lowered it for a warm-up."""
    return max(float(rate) for group in optimizer.param_groups for rate in (group["lr"], group.get("initial_lr", 0)))
