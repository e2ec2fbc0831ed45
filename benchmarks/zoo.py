"""What the benchmarks measure: the networks of the zoo with random weights, which is all that speed needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from prunemap.compiler.cost import costs_of, read_costs
from prunemap.compiler.fake_sparsity import parse_sparsity, with_fake_sparsity
from prunemap.compiler.graph.ir import Array
from prunemap.compiler.layers import list_layers as onnx_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.core.layer import LayerSetting
from prunemap.models import MODELS, build_model
from prunemap.pruning import export_onnx
from prunemap.pruning.layers import list_layers
from prunemap.pruning.weights import prunable_weights

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


def dense_model(name: str) -> Path:
    """Return the ONNX file of a network, written if it is not there."""
    path = _path(name, "dense")
    if not path.exists():
        _export(name, path, {})
    return path


def sparse_model(name: str, sparsity: str) -> Path:
    """Return the ONNX file of a network pruned by magnitude, written if it is not there."""
    path = _path(name, sparsity.replace(":", "-").replace("@", "-"))
    if not path.exists():
        with TemporaryDirectory(prefix="prunemap-") as folder:
            pruned = Path(folder) / "pruned.onnx"
            with_fake_sparsity(dense_model(name), *parse_sparsity(sparsity), pruned)
            weights = {layer.spec.module: layer.weight for layer in onnx_layers(read_onnx(pruned))}
        _export(name, path, weights)
    return path


def with_batch(model: Path, batch: int) -> Path:
    """Return the ONNX file of the same network for so many images, written if it is not there."""
    path = model.with_name(f"{model.stem}-batch{batch}.onnx")
    if not path.exists():
        found = onnx.load(str(model))
        graph = found.graph
        del graph.value_info[:]
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
        shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
        for tensor in graph.initializer:
            if tensor.name in shapes:
                sizes = numpy_helper.to_array(tensor).copy()
                sizes[0] = batch
                tensor.CopyFrom(numpy_helper.from_array(sizes, tensor.name))
        onnx.save(found, str(path))
    return path


def _path(name: str, what: str) -> Path:
    return WORK / f"{name}-{what}.onnx"


def _export(model: str, path: Path, weights: Mapping[str, Array]) -> None:
    """Write a network with these weights, by module, and random ones elsewhere."""
    shape = input_shape(model)
    module = build_model(model, shape, classes_of(model))
    with torch.no_grad():
        for weight in prunable_weights(module).values():
            connect(weight.parameter)
        for name, weight in weights.items():
            module.get_submodule(name).weight.copy_(torch.tensor(weight))
        _keep_alive(module, shape)
    export_onnx(module, torch.zeros(1, *shape), path)


def connect(weight: torch.Tensor) -> None:
    """Give every channel a strong weight in and out, as training does.

    Random weights pruned to a few percent leave many channels without either, in MobileNetV2 no way from the input to
    the output; the compiler drops what such channels feed, and so would look too fast.
    """
    rows, columns = weight.shape[:2]
    link = torch.arange(max(rows, columns))
    weight[link % rows, link % columns] *= 4


def _keep_alive(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Give a network the statistics and biases of a living one.

    Else the activations of a pruned network shrink from layer to layer to nothing, and whatever an engine computes is
    right.
    """
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the statistics of the one batch below
            layer.bias.normal_(0, 0.5, generator=generator).abs_()
        elif isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            layer.bias.normal_(0, 0.1, generator=generator)
    module.train()(torch.randn(4, *shape, generator=generator))
    module.eval()


def macs_run(model: Path) -> float:
    """Return the share of the kept multiply-adds that a program runs; the others feed constant or unread channels."""
    run, kept = read_costs(model).values(), costs_of(import_graph(read_onnx(model))).values()
    return sum(cost.macs for cost in run) / sum(cost.macs for cost in kept)
