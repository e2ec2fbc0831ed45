"""Which real and recurrent networks are measured: how each is made, on what it is run, and what it has to reach."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import real_files as files
import torch
from numpy.typing import NDArray
from real_models import BertLayer, Recurrence, WordPiece, efficientnet_lite0, sentence_encoder
from torch import nn

from prunemap.benchmarking.verify import Input
from prunemap.compiler.fake_sparsity import parse_sparsity, with_fake_sparsity
from prunemap.compiler.ir import Array
from prunemap.pruning.export import as_tensors, convert_module

DENSE_BAR = 1.2
"""Ours / ONNX Runtime's time, both on the dense network."""
PRUNED_BAR = 1 / 3
"""Ours pruned to 10 % / ONNX Runtime's dense, of the networks with random weights."""
SPARSITIES = ("punched:8x4@0.1", "block:8x4@0.1", "unstructured@0.1")
TOKENS = 128
STEPS, BLOCK_TOKENS = 50, 128
CENTERFACE_SIZE = (1, 3, 480, 640)

Answers = Callable[[Sequence[Sequence[NDArray[Any]]]], NDArray[np.int64]]
"""From the outputs for all inputs to one answer for each input."""


@dataclass(frozen=True)
class Network:
    """What is measured, and what it is measured on."""

    name: str
    package: files.Package | None
    """Of the weights; None = they are random."""
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


def torch_model(make: Callable[[Path], tuple[nn.Module, tuple[Array, ...]]], folder: Path, path: Path) -> None:
    """Export a module at the sizes of its example inputs."""
    module, examples = make(folder)
    convert_module(module, as_tensors(examples), path)


def efficientnet(folder: Path) -> tuple[nn.Module, tuple[Array, ...]]:
    weights = next(files.EFFICIENTNET.unpacked(folder).rglob("*.pth"))
    return efficientnet_lite0(weights), (files.efficientnet_images(folder)[0],)


def minilm(folder: Path) -> tuple[nn.Module, tuple[Array, ...]]:
    home = next(files.MINILM.unpacked(folder).rglob("model.safetensors")).parent
    return sentence_encoder(home), tuple(sentences(folder)[0].values())


def sentences(folder: Path) -> list[Mapping[str, NDArray[Any]]]:
    """Return the ids and masks of sentences, each (1, TOKENS)."""
    pieces = WordPiece(next(files.MINILM.unpacked(folder).rglob("tokenizer.json")))
    encoded = (pieces.encode(text, TOKENS) for text in files.SENTENCES)
    return [dict(zip(("input_ids", "attention_mask"), each, strict=True)) for each in encoded]


def nearest(outputs: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.int64]:
    """Return for each sentence the place of the one most like it."""
    vectors = np.concatenate([out[0] for out in outputs])
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return likeness.argmax(1)


def strongest(outputs: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.int64]:
    """Return the class of each image by its last output, the logits."""
    return np.array([int(out[-1].argmax()) for out in outputs])


def open_nsfw(folder: Path, path: Path) -> None:
    source = next(files.OPEN_NSFW.unpacked(folder).rglob("*.onnx"))
    files.fixed_model(source, path, {"input:0": (1, 224, 224, 3)}, ["fc_nsfw/BiasAdd:0"])


def centerface(folder: Path, path: Path) -> None:
    source = next(files.CENTERFACE.unpacked(folder).rglob("*.onnx"))
    files.fixed_model(source, path, {"input.1": CENTERFACE_SIZE}, ["536"])


Build = Callable[[], nn.Module]


def random_network(name: str, build: Build, shape: tuple[int, ...]) -> Network:
    """Return a network with random weights and inputs."""

    def inputs(_: Path) -> list[Array]:
        generator = np.random.default_rng(0)
        return [generator.standard_normal(shape, np.float32) for _ in range(4)]

    def make(folder: Path) -> tuple[nn.Module, tuple[Array, ...]]:
        torch.manual_seed(0)
        return build().eval(), tuple(inputs(folder)[:1])

    return Network(name, None, partial(torch_model, make), inputs, pruned_bar=PRUNED_BAR)


NETWORKS = (
    Network(
        "efficientnet-lite0",
        files.EFFICIENTNET,
        partial(torch_model, efficientnet),
        files.efficientnet_images,
        strongest,
        files.labels,
    ),
    Network(
        "open-nsfw",
        files.OPEN_NSFW,
        open_nsfw,
        files.nsfw_images,
        strongest,
        lambda folder: [0] * len(files.images(folder)),
        probabilities=("outputs",),
    ),
    Network("centerface", files.CENTERFACE, centerface, files.centerface_images, probabilities=("537",)),
    Network(
        "minilm-l6",
        files.MINILM,
        partial(torch_model, minilm),
        sentences,
        nearest,
        lambda _: [place ^ 1 for place in range(len(files.SENTENCES))],
    ),
    random_network("lstm-2x512", partial(Recurrence, nn.LSTM, 512, 512, 2), (1, STEPS, 512)),
    random_network("gru-1024", partial(Recurrence, nn.GRU, 1024, 1024, 1), (1, STEPS, 1024)),
    random_network("transformer-768", partial(BertLayer, 768, 12, 3072), (1, BLOCK_TOKENS, 768)),
)
CASES = tuple(Case(network, sparsity) for network in NETWORKS for sparsity in ("", *SPARSITIES))
