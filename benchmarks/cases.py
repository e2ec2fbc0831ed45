"""Networks that are measured dense and pruned without training: how each is made, and on what it is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prunemap.benchmarking.verify import Input
from prunemap.compiler.fake_sparsity import parse_sparsity, with_fake_sparsity
from prunemap.pruning.export import as_tensors, convert_module

DENSE_BAR = 1.2
"""Ours / ONNX Runtime's time, both on the dense network."""
INPUTS = 4
"""Of a network with random weights."""

Examples = tuple[NDArray[Any], ...]
Build = Callable[[], nn.Module]
Draw = Callable[[np.random.Generator], NDArray[Any]]
"""Make an input."""
Answers = Callable[[Sequence[Sequence[NDArray[Any]]]], NDArray[np.int64]]
"""From the outputs for all inputs to one answer for each input."""


@dataclass(frozen=True)
class Network:
    """What is measured, and what it is measured on."""

    name: str
    source: str
    """The package of the weights."""
    make: Callable[[Path, Path], None]
    """Write the dense ONNX file (second) from what lies in the folder (first)."""
    inputs: Callable[[Path], Sequence[Input]]
    """The batches that it is verified on; the first is timed."""
    answers: Answers | None = None
    labels: Callable[[Path], Sequence[int]] | None = None
    """The right answers."""
    probabilities: tuple[str, ...] = ()
    """Outputs whose logits are outputs too and are judged instead: a sigmoid far from 0 magnifies what is compared.

    ONNX Runtime's own sigmoid of -7.6 is off by 2.5e-4 of its value from float64.
    """
    pruned_bar: float | None = None
    """Of its pruned rows."""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    network: Network
    sparsity: str
    """Empty = dense."""

    @property
    def name(self) -> str:
        return f"{self.network.name} {self.sparsity or 'dense'}"

    @property
    def bar(self) -> float | None:
        return self.network.pruned_bar if self.sparsity else DENSE_BAR

    def path(self, folder: Path) -> Path:
        return folder / "models" / (re.sub(r"[^\w.]+", "-", self.name) + ".onnx")

    def model(self, folder: Path) -> Path:
        """Return the ONNX file, written if it is not there."""
        path = self.path(folder)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.sparsity:
                with_fake_sparsity(Case(self.network, "").model(folder), *parse_sparsity(self.sparsity), path)
            else:
                self.network.make(folder, path)
        return path


def torch_model(make: Callable[[Path], tuple[nn.Module, Examples]], folder: Path, path: Path) -> None:
    """Export a module at the sizes of its example inputs."""
    module, examples = make(folder)
    convert_module(module, as_tensors(examples), path)


def normal(*shape: int) -> Draw:
    """Return what draws inputs of a shape."""
    return lambda generator: generator.standard_normal(shape, np.float32)


def random_network(name: str, build: Build, draw: Draw, pruned_bar: float | None = None) -> Network:
    """Return a network with random weights and a single random input."""

    def inputs(_: Path) -> list[NDArray[Any]]:
        generator = np.random.default_rng(0)
        return [draw(generator) for _ in range(INPUTS)]

    def make(folder: Path) -> tuple[nn.Module, Examples]:
        torch.manual_seed(0)
        return build().eval(), tuple(inputs(folder)[:1])

    return Network(name, "random weights", partial(torch_model, make), inputs, pruned_bar=pruned_bar)
