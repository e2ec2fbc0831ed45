"""Replayed: a training step as one CUDA graph, since launching hundreds of small kernels takes longer than they do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prunemap.pruning.training.batches import TensorBatch

WARM_UP = 3
"""Calls that are not replayed: they make what is made once, such as the momentum and the plans of cuDNN."""


class Replayed:
    """A function of batches of one shape that is recorded on the GPU and then replayed.

    It must read everything that changes from memory that stays where it is, and leave its results there. The loss
    that it returns is overwritten by the next call.
    """

    def __init__(self, function: Callable[[TensorBatch], Tensor]) -> None:
        self._function, self._calls = function, 0
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph()
        self._batch: TensorBatch
        self._loss: Tensor

    def __call__(self, batch: TensorBatch) -> Tensor:
        """Return the loss, still being computed."""
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._run(batch)
        if self._calls == WARM_UP + 1:
            self._record(batch)
        self._batch.images.copy_(batch.images)
        self._batch.labels.copy_(batch.labels)
        self._graph.replay()
        return self._loss

    def _run(self, batch: TensorBatch) -> Tensor:
        """Run the function on the stream that it will be recorded on."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            loss = self._function(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return loss

    def _record(self, batch: TensorBatch) -> None:
        """Record, which computes nothing yet."""
        self._batch = TensorBatch(batch.images.clone(), batch.labels.clone())
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._loss = self._function(self._batch)
