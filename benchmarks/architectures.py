"""Small networks of many families beside ONNX Runtime on the dense network, interleaved in one run.

The definitions are our own (architecture_*.py), weights and inputs random; batch norm has the statistics of a batch,
and activations keep their size. Each network is verified, then timed: dense, and pruned by magnitude without training.
Rows that the result file has are not measured again.

    .venv/bin/python benchmarks/architectures.py [--quick] [--only REGEX] [--fresh]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from architecture_images import ConvMixer, ConvNeXt, DenseNet, GoogLeNet, MobileNetV3, RegNet, ShuffleNetV2
from architecture_maps import DcganGenerator, DeepLab, Denoiser, Espcn, StyleTransfer, UNet, Yolo
from architecture_sequences import (
    Conformer,
    Crnn,
    KeywordSpotting,
    Perceptron,
    TemporalNetwork,
    VideoNetwork,
    WaveNet,
)
from architecture_tokens import GPT_TOKENS, GPT_VOCABULARY, Encoder, Gpt, MlpMixer, Swin, VisionTransformer
from case_rows import measure_cases
from cases import Build, Case, Draw, normal, random_network
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from zoo import connect

SPARSITIES = ("punched:8x4@0.1",)
IMAGE = (1, 3, 224, 224)
SETTLING_BATCH = 8
"""Inputs whose statistics batch norm gets."""
NORMS = (_BatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def token_ids(generator: np.random.Generator) -> NDArray[np.int64]:
    return generator.integers(GPT_VOCABULARY, size=(1, GPT_TOKENS))


ARCHITECTURES: tuple[tuple[str, Build, Draw], ...] = (
    # name, definition, input
    ("convnext", ConvNeXt, normal(*IMAGE)),
    ("mobilenet-v3", MobileNetV3, normal(*IMAGE)),
    ("shufflenet-v2", ShuffleNetV2, normal(*IMAGE)),
    ("densenet", DenseNet, normal(*IMAGE)),
    ("regnet", RegNet, normal(*IMAGE)),
    ("googlenet", GoogLeNet, normal(*IMAGE)),
    ("convmixer", ConvMixer, normal(*IMAGE)),
    ("vit", VisionTransformer, normal(*IMAGE)),
    ("swin", Swin, normal(*IMAGE)),
    ("mlp-mixer", MlpMixer, normal(*IMAGE)),
    ("u-net", UNet, normal(1, 3, 128, 128)),
    ("dcgan", DcganGenerator, normal(1, 100, 1, 1)),
    ("yolo-v8", Yolo, normal(1, 3, 320, 320)),
    ("espcn", Espcn, normal(1, 1, 96, 96)),
    ("style-transfer", StyleTransfer, normal(1, 3, 128, 128)),
    ("denoiser", Denoiser, normal(1, 3, 64, 64)),
    ("deeplab-v3", DeepLab, normal(1, 3, 256, 256)),
    ("c3d", VideoNetwork, normal(1, 3, 8, 56, 56)),
    ("tcn", TemporalNetwork, normal(1, 16, 512)),
    ("wavenet", WaveNet, normal(1, 1, 1000)),
    ("crnn", Crnn, normal(1, 1, 32, 128)),
    ("conformer", Conformer, normal(1, 100, 144)),
    ("transformer-encoder", Encoder, normal(1, 64, 128)),
    ("ds-cnn", KeywordSpotting, normal(1, 1, 49, 10)),
    ("mlp", Perceptron, normal(1, 128)),
    ("gpt", Gpt, token_ids),
)


def settle(layer: nn.Module) -> None:
    """Give a layer weights as a living network has them: no activations that vanish or explode, no dead channels."""
    if isinstance(layer, NORMS):
        layer.weight.uniform_(0.5, 1.5)
        layer.bias.uniform_(-0.2, 0.2)
    elif isinstance(layer, PRODUCTS):
        nn.init.kaiming_normal_(
            layer.weight,
            mode="fan_out" if isinstance(layer, nn.ConvTranspose2d) else "fan_in",  # its weight has the inputs first
            nonlinearity="linear" if isinstance(layer, nn.Linear) else "relu",
        )
        norm = layer.weight.norm()
        connect(layer.weight)
        layer.weight.mul_(norm / layer.weight.norm())


@torch.no_grad()
def settled(build: Build, draw: Draw) -> nn.Module:
    """Return the module with such weights, and in batch norms the statistics of a random batch."""
    module = build()
    for layer in module.modules():
        settle(layer)
        if isinstance(layer, _BatchNorm):
            layer.momentum = None  # the statistics of the one batch below
    generator = np.random.default_rng(1)
    module.train()(torch.from_numpy(np.concatenate([draw(generator) for _ in range(SETTLING_BATCH)])))
    return module


NETWORKS = tuple(random_network(name, partial(settled, build, draw), draw) for name, build, draw in ARCHITECTURES)
CASES = tuple(Case(network, sparsity) for network in NETWORKS for sparsity in ("", *SPARSITIES))


def main() -> None:
    measure_cases(CASES, "architectures", Path("runs") / "architectures", __doc__, "swin|vit dense")


if __name__ == "__main__":
    main()
