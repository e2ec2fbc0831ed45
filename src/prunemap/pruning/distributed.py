"""Several processes that train one network: what is computed from the weights is that of the first process."""

from __future__ import annotations

from collections.abc import Iterable

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def agree(tensors: Iterable[Tensor]) -> None:
    """Overwrite the tensors with those of the first process, where there are several; all must call."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
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
