"""The training loop: of dense networks, while a pruner works, and of pruned ones with their zeros held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning.masks import Masks, apply_masks, check_zeros
from prunemap.pruning.pruner import Pruner
from prunemap.pruning.training.batches import EpochBatches, TensorBatch, training_batches
from prunemap.pruning.training.device import channels_last, choose_device, device_of, placed, uses_bfloat16
from prunemap.pruning.training.distributed import agree, is_first, mean_of_all, process_count, process_index
from prunemap.pruning.training.epoch_log import PhaseLog
from prunemap.pruning.training.evaluate import check_fits, evaluate
from prunemap.pruning.training.objective import objective
from prunemap.pruning.training.replay import Replayed
from prunemap.pruning.training.run_state import RunState, load_run, save_run, start_sha256
from prunemap.pruning.training.train_config import EpochRecord, History, TrainConfig, learning_rate
from prunemap.pruning.training.train_progress import TrainProgress, show_training

NO_MASKS: Masks = MappingProxyType({})
EPOCHS_PER_SEED, SEEDS_PER_PROCESS = 1_000_000, 1_000_000
"""Keep the random streams of two seeds, and of two processes, apart."""
HINT = "try a smaller learning rate or a longer warm-up; the checkpoint keeps the last whole epoch"


def train(
    module: nn.Module,
    dataset: Dataset,
    config: TrainConfig,
    *,
    masks: Masks = NO_MASKS,
    pruner: Pruner | None = None,
    teacher: nn.Module | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    log: PhaseLog | None = None,
) -> History:
    """Train ``module`` in place on the training images; weights that ``masks`` prune stay zero.

    The run is written to ``checkpoint`` after every epoch. A run resumed from there ends with the same weights as
    one that was never stopped (on a GPU but for rounding). On Ctrl-C the file holds the last whole epoch. The module
    is trained on ``config.device`` and ends where it was.

    Of several processes that train together all call. Each takes its part of every batch; the first one writes.

    Args:
        pruner: of this module, to work while it is trained; it is not finalized here.
        teacher: whose outputs are learned too, with the weight ``config.distillation``: the dense network.
        resume: go on from ``checkpoint`` if it exists; else it is overwritten.
        log: takes every epoch.

    Raises:
        UserError: the module or the teacher does not fit the data, the penalty is too strong for the learning rate,
            the loss is not finite, ``checkpoint`` is of another run, or there is no such device.
        InternalError: a pruned weight became non-zero.
    """
    path, device = None if checkpoint is None else Path(checkpoint), choose_device(config.device)
    taught = _teacher(teacher, config)
    with placed(module, device), _at_rest(taught, device):
        masks = {name: mask.to(device) for name, mask in masks.items()}
        for network in (module, *([taught] if taught else [])):
            check_fits(network, dataset)
        apply_masks(module, masks)
        optimizer = _make_optimizer(module, config)
        if pruner is not None:
            pruner.use(optimizer)
            pruner.check_learning_rate(config.lr)
        state = _begin(path if resume else None, module, dataset, config, masks, optimizer, pruner)
        shared = replace(dataset.train, process=(process_index(), process_count()))
        batches = training_batches(shared, config.batch_size, config.seed, device)
        run = _Run(module, dataset, config, masks, optimizer, batches, pruner, taught)
        if log is not None:
            log.begin(state.history)
        with show_training(state.history, run.steps, path) as progress, channels_last(module):
            for epoch in range(len(state.history.epochs), config.epochs):
                record = run.train_epoch(epoch, progress)
                state = state.after(record)
                if path is not None and is_first():
                    save_run(path, state, module, optimizer, pruner)
                if log is not None:
                    log.add(record)
    return state.history


@dataclass(frozen=True)
class _Run:
    """What stays the same over the epochs of a run; the module and the optimizer are changed in place."""

    module: nn.Module
    dataset: Dataset
    config: TrainConfig
    masks: Masks
    optimizer: SGD
    batches: EpochBatches
    pruner: Pruner | None = None
    teacher: nn.Module | None = None

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return device_of(self.module)

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.dataset.train.training_steps(self.config.batch_size)

    def train_epoch(self, epoch: int, progress: TrainProgress) -> EpochRecord:
        """Train one epoch, counted from 0, and measure the held-out accuracy."""
        total, lr = 0.0, 0.0
        self.module.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            seed = process_index() * SEEDS_PER_PROCESS + self.config.seed
            torch.manual_seed(seed * EPOCHS_PER_SEED + epoch)
            for step, batch in enumerate(self.batches(epoch), start=epoch * self.steps):
                lr = learning_rate(self.config, step, self.steps)
                loss = self.train_step(batch, lr)
                self.check_finite(isfinite(loss), "the loss", epoch)
                total += loss
                progress.step(loss)
        agree(self.module.buffers())  # each process has measured batch norm on its own images
        self.check_finite(all(value.isfinite().all() for value in self.module.parameters()), "a weight", epoch)
        check_zeros(self.module, self.masks if self.pruner is None else self.pruner.masks)
        accuracy = evaluate(self.module, self.dataset.held_out)
        record = EpochRecord(epoch=epoch + 1, loss=total / self.steps, held_out_accuracy=accuracy, lr=lr)
        progress.epoch(record)
        return record

    def check_finite(self, finite: bool, what: str, epoch: int) -> None:
        """Raise UserError where training has diverged, before the checkpoint of the last good epoch is replaced."""
        if not finite:
            raise UserError(
                f"lr: {what} became infinite or NaN in epoch {epoch + 1} with lr {self.config.lr:g}; {HINT}"
            )

    def train_step(self, batch: TensorBatch, lr: float) -> float:
        """Take one step of the optimizer; return the loss before it."""
        _set_learning_rate(self.optimizer, lr)
        loss = self._step(batch).item()
        if self.pruner is not None and isfinite(loss):
            self.pruner.advance()
        return loss

    @cached_property
    def _step(self) -> Callable[[TensorBatch], Tensor]:
        return Replayed(self.update) if self.device.type == "cuda" and process_count() == 1 else self.update

    @cached_property
    def _network(self) -> nn.Module:
        """The module, or what calls it and makes the mean of the gradients of all processes."""
        if process_count() == 1:
            return self.module
        return DistributedDataParallel(self.module, [self.device] if self.device.type == "cuda" else None)

    def update(self, batch: TensorBatch) -> Tensor:
        """Forward, backward, and a step at the learning rate that is set; return the loss without any penalty."""
        bfloat16 = uses_bfloat16(self.config.precision, self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            outputs = self._network(batch.images)
            with torch.no_grad():
                wanted = None if self.teacher is None else self.teacher(batch.images).float()
        loss = objective(outputs.float(), batch.labels, self.config, wanted)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss if self.pruner is None else loss + self.pruner.penalty())
        self.optimizer.step()
        self.mask()
        return mean_of_all(loss.detach())

    def mask(self) -> None:
        """Set the pruned weights and their momentum to zero again."""
        apply_masks(self.module, self.masks, self.optimizer)
        if self.pruner is not None:
            self.pruner.hold()


def _begin(
    path: Path | None,
    module: nn.Module,
    dataset: Dataset,
    config: TrainConfig,
    masks: Masks,
    optimizer: SGD,
    pruner: Pruner | None,
) -> RunState:
    """Return the state of a new run, or of the one in ``path`` if that exists, read into module, optimizer, pruner."""
    state = RunState(
        dataset=f"{dataset.name} {dataset.fingerprint}",
        start_sha256=start_sha256(module, masks),
        history=History(config=config),
        pruner=None if pruner is None else pruner.state.progress,
    )
    return load_run(path, state, module, optimizer, pruner) if path is not None and path.exists() else state


def _teacher(given: nn.Module | None, config: TrainConfig) -> nn.Module | None:
    """Return the teacher if there is one to learn from; check what several processes must share."""
    if config.batch_size % process_count():
        raise UserError(
            f"batch_size: got {config.batch_size}, allowed are multiples of the {process_count()} processes"
        )
    if config.distillation and given is None:
        raise UserError(f"teacher: got none with distillation {config.distillation:g}, allowed is a trained network")
    return given if config.distillation else None


@contextmanager
def _at_rest(teacher: nn.Module | None, device: torch.device) -> Iterator[None]:
    """Hold the teacher on ``device`` in evaluation mode."""
    if teacher is None:
        yield
        return
    with placed(teacher, device), channels_last(teacher):
        training = teacher.training
        teacher.eval()
        try:
            yield
        finally:
            teacher.train(training)


def _make_optimizer(module: nn.Module, config: TrainConfig) -> SGD:
    """Return the optimizer; on a GPU the fused one, the only one that reads its learning rate from memory."""
    device = device_of(module)
    fused = device.type == "cuda"
    return SGD(
        module.parameters(),
        torch.tensor(config.lr, device=device) if fused else config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=True,
        fused=fused or None,
    )


def _set_learning_rate(optimizer: SGD, lr: float) -> None:
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
