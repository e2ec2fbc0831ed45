"""Torch definitions for weights that come as bare tensors, each as small as its network allows.

Names of parameters are those of the weight files, so that ``load_state_dict`` checks them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

LITE0_BLOCKS = (
    # repeats, kernel, stride, expansion, channels in, channels out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
"""Of EfficientNet-Lite0: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"""
NORM_EPSILON = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: what is odd goes to the right and the bottom. (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SameConv:
    return SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; no squeeze and excitation in the Lite networks."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = _conv(inputs, hidden), _norm(hidden)
        self._depthwise_conv, self._bn1 = _conv(hidden, hidden, kernel, stride, hidden), _norm(hidden)
        self._project_conv, self._bn2 = _conv(hidden, outputs), _norm(outputs)
        self._expands, self._skips = expansion != 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._skips else y


class EfficientNetLite0(nn.Module):
    """(N, 3, 224, 224), (RGB - 127) / 128, to logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, 32, 3, 2), _norm(32)
        blocks = []
        for repeats, kernel, stride, expansion, inputs, outputs in LITE0_BLOCKS:
            blocks.append(InvertedResidual(kernel, stride, expansion, inputs, outputs))
            blocks += [InvertedResidual(kernel, 1, expansion, outputs, outputs) for _ in range(repeats - 1)]
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = _conv(320, 1280), _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(x))))
        x = F.relu6(self._bn1(self._conv_head(x)))
        return self._fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def efficientnet_lite0(weights: Path) -> nn.Module:
    """Return the network with the weights of a ``.pth`` file, of which only tensors are read."""
    module = EfficientNetLite0()
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return module.eval()


@dataclass(frozen=True)
class BertSizes:
    """As in a BERT ``config.json``."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    positions: int
    epsilon: float

    @classmethod
    def read(cls, config: Path) -> BertSizes:
        got = json.loads(config.read_text())
        names = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size"
        return cls(*(got[name] for name in (*names.split(), "max_position_embeddings", "layer_norm_eps")))


class BertLayer(nn.Module):
    """Self-attention and two linear layers, each with its residual sum and norm. (N, L, width) to the same."""

    def __init__(self, width: int, heads: int, hidden: int, epsilon: float = 1e-12) -> None:
        super().__init__()
        self.query, self.key, self.value, self.attended = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm, self.norm = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.intermediate, self.output = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self._heads = heads

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        batch, length, width = x.shape

        def by_head(y: Tensor) -> Tensor:
            return y.view(batch, length, self._heads, width // self._heads).transpose(1, 2)

        query, key, value = (by_head(linear(x)) for linear in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / (width // self._heads) ** 0.5
        mixed = torch.softmax(scores if bias is None else scores + bias, -1) @ value
        x = self.attention_norm(x + self.attended(mixed.transpose(1, 2).reshape(batch, length, width)))
        return self.norm(x + self.output(F.gelu(self.intermediate(x))))


class SentenceEncoder(nn.Module):
    """BERT with the mean over the tokens: token ids and mask, int64 (N, L), to unit vectors (N, width)."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.words = nn.Embedding(sizes.vocabulary, sizes.width)
        self.places, self.kinds = nn.Embedding(sizes.positions, sizes.width), nn.Embedding(2, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.layers = nn.ModuleList(
            BertLayer(sizes.width, sizes.heads, sizes.hidden, sizes.epsilon) for _ in range(sizes.layers)
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1])
        x = self.norm(self.words(input_ids) + self.places(places) + self.kinds(torch.zeros_like(input_ids)))
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        weight = attention_mask[:, :, None].to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1).clamp(min=1e-9), dim=1)


_BERT_NAMES = (
    (r"^embeddings\.word_embeddings\.", "words."),
    (r"^embeddings\.position_embeddings\.", "places."),
    (r"^embeddings\.token_type_embeddings\.", "kinds."),
    (r"^embeddings\.LayerNorm\.", "norm."),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.self\.", "."),
    (r"\.attention\.output\.dense\.", ".attended."),
    (r"\.attention\.output\.LayerNorm\.", ".attention_norm."),
    (r"\.output\.LayerNorm\.", ".norm."),
    (r"\.dense\.", "."),
)
"""From the names in BERT's weight files to ours."""


def sentence_encoder(folder: Path) -> nn.Module:
    """Return the encoder of a folder with ``config.json`` and ``model.safetensors``."""
    module = SentenceEncoder(BertSizes.read(folder / "config.json"))
    state = {}
    for name, value in load_file(folder / "model.safetensors").items():
        if name == "embeddings.position_ids" or name.startswith("pooler."):
            continue  # what follows from the length, and a head that sentence vectors do not use
        state[reduce(lambda given, rule: re.sub(*rule, given), _BERT_NAMES, name)] = value
    module.load_state_dict(state)
    return module.eval()


class WordPiece:
    """Lower-case WordPiece: the longest pieces of the vocabulary from the left. Source: BERT's tokenization.py."""

    def __init__(self, tokenizer_json: Path) -> None:
        self._vocabulary: dict[str, int] = json.loads(tokenizer_json.read_text())["model"]["vocab"]

    def encode(self, text: str, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return token ids and mask, each (1, length), cut or padded."""
        plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        pieces = [piece for word in re.findall(r"\w+|[^\w\s]", plain) for piece in self._pieces(word)]
        ids = [self._vocabulary[piece] for piece in ("[CLS]", *pieces[: length - 2], "[SEP]")]
        padded = np.zeros((2, 1, length), np.int64)
        padded[0, 0, : len(ids)], padded[1, 0, : len(ids)] = ids, 1
        return padded[0], padded[1]

    def _pieces(self, word: str) -> list[str]:
        pieces: list[str] = []
        while word:
            mark = "##" if pieces else ""
            end = next((end for end in range(len(word), 0, -1) if mark + word[:end] in self._vocabulary), 0)
            if not end:
                return ["[UNK]"]
            pieces, word = [*pieces, mark + word[:end]], word[end:]
        return pieces


class Recurrence(nn.Module):
    """LSTM or GRU of one or more layers: (N, T, width) to all states (N, T, hidden)."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.recurrence = kind(width, hidden, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.recurrence(x)[0]
