"""Which real and recurrent networks are measured: how each is made, on what it is run, and what it has to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import real_files as files
from cases import Case, Network, normal, random_network, torch_model
from numpy.typing import NDArray
from real_models import BertLayer, Recurrence, WordPiece, efficientnet_lite0, sentence_encoder
from torch import nn

from prunemap.compiler.graph.ir import Array

PRUNED_BAR = 1 / 3
"""Ours pruned to 10 % / ONNX Runtime's dense, of the networks with random weights."""
SPARSITIES = ("punched:8x4@0.1", "block:8x4@0.1", "unstructured@0.1")
TOKENS = 128
STEPS, BLOCK_TOKENS = 50, 128
CENTERFACE_SIZE = (1, 3, 480, 640)


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


NETWORKS = (
    Network(
        "efficientnet-lite0",
        files.EFFICIENTNET.pin,
        partial(torch_model, efficientnet),
        files.efficientnet_images,
        strongest,
        files.labels,
    ),
    Network(
        "open-nsfw",
        files.OPEN_NSFW.pin,
        open_nsfw,
        files.nsfw_images,
        strongest,
        lambda folder: [0] * len(files.images(folder)),
        probabilities=("outputs",),
    ),
    Network("centerface", files.CENTERFACE.pin, centerface, files.centerface_images, probabilities=("537",)),
    Network(
        "minilm-l6",
        files.MINILM.pin,
        partial(torch_model, minilm),
        sentences,
        nearest,
        lambda _: [place ^ 1 for place in range(len(files.SENTENCES))],
    ),
    random_network("lstm-2x512", partial(Recurrence, nn.LSTM, 512, 512, 2), normal(1, STEPS, 512), PRUNED_BAR),
    random_network("gru-1024", partial(Recurrence, nn.GRU, 1024, 1024, 1), normal(1, STEPS, 1024), PRUNED_BAR),
    random_network("transformer-768", partial(BertLayer, 768, 12, 3072), normal(1, BLOCK_TOKENS, 768), PRUNED_BAR),
)
CASES = tuple(Case(network, sparsity) for network in NETWORKS for sparsity in ("", *SPARSITIES))
