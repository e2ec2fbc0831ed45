"""Several processes that train one network: what is computed from the weights is that of the first process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

BACKENDS_WITH_CUDA = "cpu:gloo,cuda:nccl"
"""A network is pruned on the CPU and trained on the GPU: tensors of both are shared."""


@contextmanager
def processes_of_torchrun(device: str) -> Iterator[None]:
    """Join the processes that ``torchrun`` has started, where it has; each has a GPU of its own.

    Args:
        device: "auto", "cpu" or "cuda", as for training.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = torch.cuda.is_available() and device != "cpu"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(BACKENDS_WITH_CUDA if cuda else "gloo")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1x1 kernels both are the same layout
            yield
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """Return how many processes train together, 1 or more."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_index() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if process_count() > 1 else 0


def is_first() -> bool:
    """Return whether this process is the one that writes files and shows progress."""
    return process_index() == 0


def wait_for_all() -> None:
    """Wait until all processes are here."""
    if process_count() > 1:
        dist.barrier()


def sum_of_all(value: Tensor) -> Tensor:
    """Return the sum over the processes, computed in place; all must call."""
    if process_count() > 1:
        dist.all_reduce(value)
    return value


def mean_of_all(value: Tensor) -> Tensor:
    """Return the mean over the processes; all must call."""
    return value if process_count() == 1 else sum_of_all(value.clone()) / process_count()


def agree(tensors: Iterable[Tensor]) -> None:
    """Overwrite the tensors with those of the first process, where there are several; all must call."""
    if process_count() > 1:
        for tensor in tensors:
            sent = tensor.byte() if tensor.element_size() == 1 else tensor.contiguous()
            dist.broadcast(sent, src=0)
            tensor.copy_(sent)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module itself of one that torch.compile or a data-parallel wrapper has returned."""
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model
