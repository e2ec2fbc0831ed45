"""Fast evaluation of a plan: one-shot pruning, batch norm measured again, a short masked training, accuracy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain, count, islice, pairwise
from math import cos, inf, isfinite, pi
from time import perf_counter

import numpy as np
import torch
from pydantic import ConfigDict, Field, field_validator
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from prunemap.core.plan import Plan
from prunemap.core.value import Value
from prunemap.datasets import Dataset, Split
from prunemap.errors import Problems, UserError
from prunemap.mapping.search import FastAccuracy, Rung
from prunemap.pruning.dead_filters import FilterGraph, filter_graph
from prunemap.pruning.layers import list_layers, resolve_plan
from prunemap.pruning.masks import Masks, held_parameters, hold_zeros
from prunemap.pruning.one_shot import prune
from prunemap.pruning.sensitivity import some_of
from prunemap.pruning.training.batches import TensorBatch, training_batches
from prunemap.pruning.training.batchnorm import reestimate_batchnorm, reestimation_images
from prunemap.pruning.training.device import channels_last, choose_device, device_of, placed, uses_bfloat16
from prunemap.pruning.training.evaluate import check_fits, evaluate

MIN_OVER_CHANCE = 1.5
"""Below so many times the accuracy of guessing a network counts as untrained."""


class FastConfig(Value):
    """How a plan is evaluated; evaluations by another config cannot be compared."""

    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)

    rungs: tuple[int, ...] = (0, 30, 90)
    """Training steps after which accuracy is measured, 0 and rising; hopeless plans end there."""
    batch_size: int = Field(default=128, gt=0)
    lr: float = Field(default=0.02, gt=0)
    """Learning rate of the first step; it falls along a half cosine to zero at the last."""
    momentum: float = Field(default=0.9, gt=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    images: int = Field(default=1000, gt=0)
    """Held-out images to measure on, at most, evenly spread."""
    reestimation_batches: int = Field(default=4, gt=0)
    """Batches of 250 training images that batch norm is measured on."""
    seed: int = Field(default=0, ge=0)

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if not rungs or rungs[0] != 0 or any(b <= a for a, b in pairwise(rungs)):
            raise ValueError("allowed are 0 and then rising numbers of steps")
        return rungs


def rungs_to(steps: int) -> tuple[int, ...]:
    """Return the usual rungs up to so many steps: none, a third, all."""
    return tuple(sorted({0, steps // 3, steps}))


@dataclass(frozen=True, eq=False)
class FastEvaluator:
    """Evaluates plans from the trained dense weights; the module stays as it is. It can be sent to other processes."""

    module: nn.Module
    dataset: Dataset
    held_out: Split
    others: Split
    """Of second looks: other held-out images as far as there are any."""
    config: FastConfig
    network: FilterGraph | None
    """The graph of the module, exported once."""
    device: str = "auto"
    threads: int = 1
    """Of every evaluation on a CPU."""

    def __call__(self, plan: Plan, floors: Sequence[float] = (), *, second_look: bool = False) -> FastAccuracy:
        """Return the accuracies, rung by rung; training that diverges ends at the last rung before.

        Args:
            second_look: train on batches in another order and measure on ``others``.

        Raises:
            UserError: the plan does not fit the module.
        """
        began, rungs, diverged = perf_counter(), list[Rung](), False
        torch.set_num_threads(self.threads)
        module, device = deepcopy(self.module), choose_device(self.device)
        cuda = [device] if device.type == "cuda" else []
        with placed(module, device), channels_last(module), torch.random.fork_rng(devices=cuda):
            torch.manual_seed(self.config.seed + second_look)  # of dropout
            masks = self._prune(module, plan)
            for rung, floor in zip(
                self._train(module, masks, second_look), chain(floors, [-inf] * len(self.config.rungs)), strict=False
            ):
                rungs.append(rung)
                if rung.accuracy < floor:
                    break
            else:
                diverged = len(rungs) < len(self.config.rungs)
        complete, seconds = len(rungs) == len(self.config.rungs), round(perf_counter() - began, 3)
        return FastAccuracy(rungs=tuple(rungs), complete=complete, seconds=seconds, diverged=diverged)

    @property
    def other_images(self) -> int:
        """How many of ``others`` are not among ``held_out``."""
        return len(np.setdiff1d(self.others.indices, self.held_out.indices))

    def check_plan(self, plan: Plan) -> None:
        """Check that a plan for every layer, made of an ONNX file, is of this module.

        Raises:
            UserError: the module has other layers; all that differ are listed.
        """
        layers = list_layers(self.module, torch.zeros(1, *self.dataset.input_shape))
        problems = Problems("checkpoint: its network is not that of the ONNX file")
        try:
            found = resolve_plan(plan, layers)
        except UserError as error:
            problems.extend(line.removeprefix("  - ") for line in str(error).splitlines()[1:])
        else:
            problems.extend(f"layer {layer.name!r} is not in the file" for layer in layers if layer.module not in found)
        problems.raise_if_any()

    def dense_accuracy(self) -> float:
        """Return the held-out accuracy of the dense module."""
        module = deepcopy(self.module)
        with placed(module, choose_device(self.device)):
            return evaluate(module, self.held_out)

    def _prune(self, module: nn.Module, plan: Plan) -> Masks:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="at such a density layers would lose every weight")
            return prune(module, plan, torch.zeros(1, *self.dataset.input_shape), self.network)

    def _train(self, module: nn.Module, masks: Masks, second_look: bool) -> Iterator[Rung]:
        """Yield the accuracy at every rung, training in between."""
        reestimate_batchnorm(module, islice(reestimation_images(self.dataset), self.config.reestimation_batches))
        last, done = self.config.rungs[-1], 0
        training = _Training(module, masks, self.config)
        batches = self._batches(module, self.config.seed + second_look)
        images = self.others if second_look else self.held_out
        for rung in self.config.rungs:
            if not all(training.step(batch, at / last) for at, batch in enumerate(islice(batches, rung - done), done)):
                return
            done = rung
            yield Rung(steps=rung, accuracy=evaluate(module, images))

    def _batches(self, module: nn.Module, seed: int) -> Iterator[TensorBatch]:
        of_epoch = training_batches(self.dataset.train, self.config.batch_size, seed, device_of(module))
        return chain.from_iterable(map(of_epoch, count()))


class _Training:
    """SGD with Nesterov momentum and the zeros held."""

    def __init__(self, module: nn.Module, masks: Masks, config: FastConfig) -> None:
        self.module, self.masks, self.config = module, masks, config
        self.held = held_parameters(module, masks)
        self.optimizer = SGD(
            module.parameters(),
            config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=True,
        )

    def step(self, batch: TensorBatch, done: float) -> bool:
        """Take a step; return whether the loss is finite.

        Args:
            done: share of all steps that were taken before.
        """
        self.module.train()
        device = device_of(self.module)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bfloat16("auto", device)):
            outputs = self.module(batch.images)
        loss = cross_entropy(outputs.float(), batch.labels)
        self.optimizer.param_groups[0]["lr"] = self.config.lr * 0.5 * (1 + cos(pi * done))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        hold_zeros(self.held, self.masks, self.optimizer)
        return isfinite(float(loss.detach()))


def make_fast_evaluator(
    module: nn.Module, dataset: Dataset, config: FastConfig, *, device: str = "auto", threads: int = 1
) -> FastEvaluator:
    """Return the evaluator of plans for a trained module.

    Raises:
        UserError: the module does not fit the data, or is not trained: it is hardly better than chance.
    """
    check_fits(module, dataset)
    held_out = some_of(dataset.held_out, config.images)
    others = _others(dataset.held_out, held_out)
    network = filter_graph(module, torch.zeros(1, *dataset.input_shape))
    evaluator = FastEvaluator(module, dataset, held_out, others, config, network, device, threads)
    accuracy, chance = evaluator.dense_accuracy(), 1 / len(dataset.classes)
    if accuracy < MIN_OVER_CHANCE * chance:
        raise UserError(
            f"checkpoint: it has no trained weights: {accuracy:.1%} of the held-out images are right, by chance "
            f"{chance:.1%} are; train it first (`prunemap train`)"
        )
    return evaluator


def _others(split: Split, taken: Split) -> Split:
    """Return as many images of a split as were taken, those first that were not."""
    rest = np.setdiff1d(split.indices, taken.indices)
    if not len(rest):
        return taken
    others = some_of(replace(split, indices=rest), len(taken))
    missing = len(taken) - len(others)
    filled = some_of(taken, missing).indices if missing else taken.indices[:0]
    return replace(split, indices=np.concatenate([others.indices, filled]))
