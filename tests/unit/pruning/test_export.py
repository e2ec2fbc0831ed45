"""ONNX export: for every network the layers keep their identity, their zeros and their meaning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from prunemap.core.plan import Plan
from prunemap.errors import InternalError, UnsupportedError, UserError
from prunemap.models import MODELS, build_model
from prunemap.pruning import export, export_onnx, list_layers, prune
from prunemap.pruning.export import MODULE_KEY
from tests.zoo import zoo

MakePlan = Callable[..., Plan]
# The large networks with narrower layers: the graph is the same, the test is fast.
WIDTHS = {"resnet50": 0.25, "vgg16": 0.125, "vgg16-cifar": 0.25}
# What is not computed at run time is a constant: no Shape, Expand, Identity, Transpose, …
EXPECTED_OPS = {"Conv", "BatchNormalization", "Relu", "Clip", "Add", "MaxPool", "ReduceMean", "Reshape", "Gemm"}
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Tokens(nn.Module):
    """Linear layers on several vectors per example: MatMul in ONNX, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(300, 700)
        self.narrow = nn.Linear(700, 300, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = self.narrow(torch.relu(self.widen(x)))
        return x


def weight_nodes(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, str, np.ndarray]]:
    """Every node with a constant weight, the module it says it is, and the weight."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in {"Conv", "Gemm", "MatMul", "ConvTranspose"}:
            metadata = {prop.key: prop.value for prop in node.metadata_props}
            yield node, metadata[MODULE_KEY], constants[node.input[1]]


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(["output"], {"input": images})
    return np.asarray(output)


def randomise_statistics(module: nn.Module) -> None:
    """Batch norm that does something, so that folding it by mistake would show."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)


@pytest.mark.parametrize("name", zoo("resnet8", "mobilenetv2-cifar", "vgg16-cifar"))
def test_every_network_keeps_identity_zeros_and_outputs(name: str, make_plan: MakePlan, tmp_path: Path) -> None:
    entry = MODELS[name]
    shape = (3, entry.input_size, entry.input_size)
    module = build_model(entry.name, shape, 10, {"width": WIDTHS.get(entry.name, 1.0)})
    randomise_statistics(module)
    images = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    layers = list_layers(module, images)
    masks = prune(module, make_plan(layers, "punched:8x4", 0.3), images)
    export_onnx(module, images, tmp_path / "m.onnx")

    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    found = list(weight_nodes(model))
    assert [name for _, name, _ in found] == [layer.module for layer in layers]
    assert [node.name for node, _, _ in found] == [layer.module for layer in layers]
    for _, layer, weight in found:
        assert np.array_equal(weight, module.get_parameter(f"{layer}.weight").detach().numpy())
        assert not weight[~masks[layer].numpy()].any()
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {node.op_type for node in model.graph.node} <= EXPECTED_OPS

    with torch.no_grad():
        expected = module.eval()(images).numpy()
    assert np.abs(run(tmp_path / "m.onnx", images.numpy()) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_linear_layers_on_tokens(tmp_path: Path) -> None:
    module = Tokens()
    tokens = torch.randn(1, 5, 300, generator=torch.Generator().manual_seed(0))
    export_onnx(module, tokens, tmp_path / "m.onnx")
    found = list(weight_nodes(onnx.load(tmp_path / "m.onnx")))
    assert [(node.op_type, name) for node, name, _ in found] == [("MatMul", "widen"), ("MatMul", "narrow")] * 2
    assert [node.name for node, _, _ in found] == ["widen", "narrow", "widen_2", "narrow_2"]
    assert np.array_equal(found[0][2], module.widen.weight.detach().numpy().T)
    expected = module(tokens).detach().numpy()
    assert np.abs(run(tmp_path / "m.onnx", tokens.numpy()) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_batch_is_one_unless_it_is_left_open(net: nn.Module, tmp_path: Path) -> None:
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    export_onnx(net, images, tmp_path / "one.onnx")
    export_onnx(net, images, tmp_path / "open.onnx", symbolic_batch=True)
    one, opened = (onnx.load(tmp_path / name).graph.input[0] for name in ("one.onnx", "open.onnx"))
    assert [dim.dim_value for dim in one.type.tensor_type.shape.dim] == [1, 1, 8, 8]
    assert opened.type.tensor_type.shape.dim[0].dim_param == "N"
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    assert np.allclose(run(tmp_path / "open.onnx", images.numpy()), expected, atol=1e-5)
    assert np.allclose(run(tmp_path / "one.onnx", images.numpy()[:1]), expected[:1], atol=1e-5)


def test_nothing_is_printed_and_nothing_of_the_machine_is_in_the_file(
    net: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export_onnx(net.train(), EXAMPLE, tmp_path / "m.onnx")
    assert net.training
    assert caught == []
    assert capfd.readouterr() == ("", "")
    content = (tmp_path / "m.onnx").read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_large_weights_go_to_a_second_file(net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(export, "MAX_FILE_BYTES", 1000)
    export_onnx(net, images, tmp_path / "two.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two.onnx", "two.onnx.data"]
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    assert np.allclose(run(tmp_path / "two.onnx", images.numpy()), expected, atol=1e-5)


class Branching(nn.Module):
    """What it computes depends on the values, which ONNX export cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) if x.sum() > 0 else x


class Scaled(nn.Module):
    """The weight is computed from the input, so no node has it as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) if torch.compiler.is_exporting() is False else x @ (self.fc.weight * x.mean())


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (Branching(), UserError, "export: torch cannot export Branching: "),
        (Scaled(), UnsupportedError, "layers without a node of their own with a constant weight: fc; remove"),
    ],
)
def test_modules_that_cannot_be_exported(
    module: nn.Module, error: type[Exception], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=message) as caught:
        export_onnx(module, torch.ones(1, 4), tmp_path / "m.onnx")
    assert len(str(caught.value).splitlines()) <= 12
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_weight_that_changes_on_the_way_is_a_defect(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_onnx = export._to_onnx

    def change_after(module: nn.Module, examples: tuple[object, ...], **options: object) -> object:
        model = to_onnx(module, examples, **options)
        module.conv2.weight = nn.Parameter(module.conv2.weight + 1)  # type: ignore[union-attr, operator]
        return model

    monkeypatch.setattr(export, "_to_onnx", change_after)
    with pytest.raises(InternalError, match="export changed the weight of layer 'conv2'"):
        export_onnx(net, EXAMPLE, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


class TwoInputs(nn.Module):
    """A residual sum of two inputs, two outputs, layers of several kinds, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.body = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 5))

    def forward(self, image: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.up(self.conv(image) * scale)
        return self.body(y.mean((2, 3))), y


def two_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 6, 6, generator=generator), torch.randn(2, 1, 6, 6, generator=generator)


def check_two(path: Path, module: nn.Module) -> None:
    """The file computes what the module does at the batch of the examples, and its layers are marked."""
    image, scale = two_inputs()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape[0]) for each in session.get_inputs()] == [("image", 2), ("scale", 2)]
    found = session.run(None, {"image": image.numpy(), "scale": scale.numpy()})
    with torch.no_grad():
        for one, wanted in zip(found, module.eval()(image, scale), strict=True):
            np.testing.assert_allclose(one, wanted.numpy(), atol=1e-5)
    assert [name for _, name, _ in weight_nodes(onnx.load(path))] == ["conv", "up", "body.1"]


def test_any_module_and_its_exported_file_convert(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module = TwoInputs()
    image, scale = two_inputs()
    export.convert_module(module, (image, scale), tmp_path / "tuple.onnx")
    export.convert_module(module, {"scale": scale, "image": image}, tmp_path / "dict.onnx")
    assert module.training
    program = torch.export.export(module.eval(), two_inputs())
    torch.export.save(program, tmp_path / "m.pt2")
    export.convert_exported(tmp_path / "m.pt2", tmp_path / "file.onnx")
    for name in ("tuple", "dict", "file"):
        check_two(tmp_path / f"{name}.onnx", module)
    assert capfd.readouterr() == ("", "")


def test_a_single_input_and_output_are_called_so(net: nn.Module, tmp_path: Path) -> None:
    export.convert_module(net, torch.ones(3, 1, 8, 8), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert ([each.name for each in graph.input], [each.name for each in graph.output]) == (["input"], ["output"])
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


def test_a_layer_without_a_constant_weight_converts_unmarked(tmp_path: Path) -> None:
    export.convert_module(Scaled(), torch.ones(1, 4), tmp_path / "m.onnx")
    assert not any(node.metadata_props for node in onnx.load(tmp_path / "m.onnx").graph.node)


def test_what_cannot_be_converted(net: nn.Module, tmp_path: Path) -> None:
    def refused(model: object, examples: object, message: str) -> None:
        with pytest.raises(UserError, match=message):
            export.convert_module(model, examples, tmp_path / "m.onnx")  # type: ignore[arg-type]

    refused(3, None, "model: got int, allowed are a path, a torch module, an ExportedProgram")
    refused(net, None, "example_inputs: a torch module needs one")
    refused(net, {"y": EXAMPLE}, "example_inputs: y do not fit the module's forward: missing")
    refused(Branching(), torch.ones(1, 4), "export: torch cannot export Branching: ")
    refused(torch.export.export(TwoInputs(), two_inputs()), None, r"exported in training mode \(aten\.dropout")
    norm = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    refused(torch.export.export(norm, (EXAMPLE,)), None, r"exported in training mode \(aten\.batch_norm")
    (tmp_path / "m.pt2").write_text("hello")
    with pytest.raises(UserError, match=r"m\.pt2 is not a file of torch\.export\.save"):
        export.convert_exported(tmp_path / "m.pt2", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


class TwoVectors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 4), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right(y)


def test_a_network_of_two_inputs_is_exported_by_its_arguments(tmp_path: Path) -> None:
    module, inputs = TwoVectors().eval(), {"x": torch.randn(1, 6), "y": torch.randn(1, 5)}
    export_onnx(module, tuple(inputs.values()), tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    np.testing.assert_allclose(got, module(**inputs).detach().numpy(), atol=1e-6)
    assert [layer.name for layer in list_layers(module, inputs)] == ["left", "right"]
    with pytest.raises(UserError, match="symbolic_batch: got several inputs, allowed is one tensor"):
        export_onnx(module, inputs, tmp_path / "n.onnx", symbolic_batch=True)
