"""What the benchmarks measure: the networks of the zoo with random weights, which is all that speed needs."""

from __future__ import annotations

from pathlib import Path

import torch

from prunemap.compiler.fake_sparsity import parse_sparsity, with_fake_sparsity
from prunemap.core.layer import LayerSetting
from prunemap.models import MODELS, build_model
from prunemap.pruning import export_onnx
from prunemap.pruning.layers import list_layers

RESULTS = Path(__file__).parent / "results"
WORK = Path("runs") / "benchmarks"
"""Where models are kept between runs."""
LARGE = ("resnet50", "vgg16", "mobilenetv2")
SMALL = ("resnet8", "resnet20", "vgg16-cifar", "mobilenetv2-cifar")


def classes_of(name: str) -> int:
    return 1000 if name in LARGE else 10


def input_shape(name: str) -> tuple[int, int, int]:
    size = MODELS[name].input_size
    return (3, size, size)


def layer_settings(names: tuple[str, ...] = (*LARGE, *SMALL)) -> list[LayerSetting]:
    """Return the distinct layer settings of networks, in order of appearance; nothing is computed."""
    settings: dict[LayerSetting, None] = {}
    for name in names:
        with torch.device("meta"):
            module = MODELS[name].make(3, classes_of(name), **MODELS[name].options)
            layers = list_layers(module, torch.empty(1, *input_shape(name)))
        settings.update({layer.setting: None for layer in layers if layer.setting is not None})
    return list(settings)


def dense_model(name: str, *, symbolic_batch: bool = False) -> Path:
    """Return the ONNX file of a network, written if it is not there."""
    path = WORK / f"{name}{'-batch' if symbolic_batch else ''}.onnx"
    if not path.exists():
        shape = input_shape(name)
        export_onnx(
            build_model(name, shape, classes_of(name)), torch.zeros(1, *shape), path, symbolic_batch=symbolic_batch
        )
    return path


def sparse_model(dense: Path, sparsity: str) -> Path:
    """Return the ONNX file of a network pruned by magnitude, written if it is not there."""
    path = dense.with_name(f"{dense.stem}-{sparsity.replace(':', '-').replace('@', '-')}.onnx")
    if not path.exists():
        with_fake_sparsity(dense, *parse_sparsity(sparsity), path)
    return path
