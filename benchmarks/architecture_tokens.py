"""Small networks of published families that mix tokens, by attention or by linear layers, as torch definitions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16
IMAGE_TOKENS = (224 // PATCH) ** 2
GPT_VOCABULARY, GPT_TOKENS = 500, 64
WINDOW, SHIFT = 7, 3
"""Of Swin, in tokens."""


def perceptron(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Attention(nn.Module):
    """Self-attention whose queries, keys and values come from one linear layer. (N, L, width) to the same."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.mixed = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.heads = heads
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        by_head = self.mixed(x).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = by_head.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.attended(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention and two linear layers, norms before them, each with its residual sum."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.norm = nn.LayerNorm(width)
        self.perceptron = perceptron(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.perceptron(self.norm(x))


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al., 2021), as wide as DeiT-Tiny, with four blocks."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 1 + IMAGE_TOKENS, width) * 0.1)
        self.blocks = nn.Sequential(*(Block(width, 3) for _ in range(4)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 100)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], 1)
        return self.head(self.norm(self.blocks(tokens + self.places))[:, 0])


class Gpt(nn.Module):
    """A decoder as GPT-2 (Radford et al., 2019): token ids, int64 (N, L), to logits of the next ones."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.words = nn.Embedding(GPT_VOCABULARY, width)
        self.places = nn.Parameter(torch.randn(1, GPT_TOKENS, width) * 0.1)
        self.blocks = nn.Sequential(*(Block(width, 4, causal=True) for _ in range(3)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, GPT_VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.words(ids) + self.places)))


class Encoder(nn.Module):
    """The encoder of the first transformer (Vaswani et al., 2017), as torch builds it: two layers."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


class WindowBlock(nn.Module):
    """A block whose attention stays in windows, which are shifted where asked for. (N, H, W, width) to the same."""

    def __init__(self, width: int, shift: int = 0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, 3)
        self.norm = nn.LayerNorm(width)
        self.perceptron = perceptron(width, 4 * width)
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        rows, columns = height // WINDOW, width // WINDOW
        y = self.attention_norm(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = y.reshape(batch, rows, WINDOW, columns, WINDOW, channels).transpose(2, 3)
        y = self.attention(y.reshape(-1, WINDOW * WINDOW, channels))
        y = y.reshape(batch, rows, columns, WINDOW, WINDOW, channels).transpose(2, 3)
        y = y.reshape(batch, height, width, channels)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.perceptron(self.norm(x))


class Swin(nn.Module):
    """Swin-Tiny (Liu et al., 2021) up to its second stage, without the mask of shifted windows."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.first = nn.Sequential(WindowBlock(width), WindowBlock(width, SHIFT))
        self.norm = nn.LayerNorm(4 * width)
        self.merge = nn.Linear(4 * width, 2 * width)
        self.second = nn.Sequential(WindowBlock(2 * width), WindowBlock(2 * width, SHIFT))
        self.head = nn.Linear(2 * width, 100)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.patches(x).permute(0, 2, 3, 1))
        quarters = [x[:, row::2, column::2] for column in range(2) for row in range(2)]
        x = self.second(self.merge(self.norm(torch.cat(quarters, -1))))
        return self.head(x.mean((1, 2)))


class MixerBlock(nn.Module):
    """Two linear layers over the tokens, then two over the channels, each pair with its residual sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.tokens = perceptron(IMAGE_TOKENS, 256)
        self.channel_norm = nn.LayerNorm(width)
        self.channels = perceptron(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.token_norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.channel_norm(x))


class MlpMixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al., 2021) with two blocks of 128 channels."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.blocks = nn.Sequential(*(MixerBlock(width) for _ in range(2)))
        self.head = nn.Linear(width, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))
