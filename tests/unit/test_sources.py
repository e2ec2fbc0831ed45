"""Networks from torch modules and .pt2 files: compiled, verified, inspected, benched like ONNX files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import prunemap
from prunemap import sources
from prunemap.benchmarking import Effort
from prunemap.cli.app import app
from prunemap.errors import UserError
from prunemap.models import build_model
from prunemap.runtime import Compiled, start
from tests.networks import residual_network, save

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))


@pytest.fixture
def pt2(module: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module exported, and a cache of its own."""
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    torch.export.save(torch.export.export(module.eval(), (EXAMPLE,)), tmp_path / "m.pt2")
    return tmp_path / "m.pt2"


def check(program: Compiled, module: nn.Module) -> None:
    with torch.no_grad(), start(program) as engine:
        assert engine.inputs[0].shape == tuple(EXAMPLE.shape)
        np.testing.assert_allclose(engine.run(EXAMPLE.numpy())[0], module.eval()(EXAMPLE).numpy(), atol=1e-5)
        assert prunemap.verify(engine, module).passed


def test_a_module_compiles_and_is_left_as_it_was(module: nn.Module) -> None:
    program = prunemap.compile(module.train(), EXAMPLE, tune=None)
    assert all(layer.training for layer in module.modules())
    assert program.manifest.source_path == ""
    assert [layer.node for layer in program.manifest.layers] == ["0", "4"]
    check(program, module)
    check(prunemap.compile(torch.export.export(module.eval(), (EXAMPLE,)), tune=None), module)


def test_a_pt2_file_is_profiled_and_mapped(pt2: Path) -> None:
    table, plan = pt2.with_name("l.json"), pt2.with_name("plan.json")
    measure = ["profile", str(pt2), "-o", str(table), "--schemes", "unstructured", "--densities", "0.2"]
    for command in (measure, ["map", str(pt2), "--latency", str(table), "--density", "1", "-o", str(plan)]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    assert [layer["name"] for layer in json.loads(plan.read_text())["layers"]] == ["0", "4"]


def test_a_pt2_file_is_converted_once(pt2: Path, module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    program = prunemap.compile(pt2, tune=None)
    check(program, module)
    monkeypatch.setattr("prunemap.pruning.export.convert_exported", None)  # must not be needed again
    program.save(pt2.with_suffix(".pmap"))
    assert prunemap.verify(pt2.with_suffix(".pmap"), pt2).passed
    assert Path(program.manifest.source_path) == sources.onnx_file(pt2)
    inspection = prunemap.inspect(pt2)
    assert inspection.model == str(pt2) and [layer.name for layer in inspection.layers] == ["0", "4"]
    result = prunemap.bench(pt2, vs=["onnxruntime"], effort=Effort(2, 0.01), tune=False)
    assert result.model == str(pt2) and result.max_relative_error < 1e-4


def test_a_module_is_inspected_and_benched(module: nn.Module) -> None:
    inspection = prunemap.inspect(module, EXAMPLE)
    assert inspection.model == "Sequential" and len(inspection.layers) == 2
    result = prunemap.bench(module, vs=[], example_inputs=EXAMPLE, effort=Effort(2, 0.01), tune=False)
    assert result.model == "Sequential" and result.max_relative_error < 1e-4


class Turning(nn.Module):
    """An operator in the middle that is not compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.det(self.conv(x))


def test_a_module_with_a_fallback() -> None:
    with pytest.raises(UserError, match=r"Det\): the operator is not supported"):
        prunemap.compile(Turning(), EXAMPLE)
    module = Turning()
    program = prunemap.compile(module, EXAMPLE, fallback="onnxruntime", tune=None)
    assert [each.engine for each in program.manifest.segments] == ["prunemap", "onnxruntime"]
    check(program, module)
    result = prunemap.bench(
        module,
        vs=["dense"],
        example_inputs=EXAMPLE,
        effort=Effort(2, 0.01),
        tune=False,
        fallback="onnxruntime",
        per_layer=True,
    )
    assert [layer.segment for layer in result.layers] == [0, 0, 0, 1]
    assert result.layers[-1].kernel == "onnxruntime" and result.layers[-1].median_us > 0
    assert result.layers[0].limit_share is not None


@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_compiles_at_a_given_one(batch: int, tmp_path: Path) -> None:
    module = build_model("resnet8", (3, 16, 16), 10, {"width": 0.5})
    prunemap.export_onnx(module, torch.zeros(1, 3, 16, 16), tmp_path / "m.onnx", symbolic_batch=True)
    program = prunemap.compile(tmp_path / "m.onnx", shapes={"input": (batch, 3, 16, 16)}, tune=None)
    assert program.manifest.inputs[0].shape == (batch, 3, 16, 16)
    with start(program) as engine:
        assert prunemap.verify(engine, tmp_path / "m.onnx").passed


def test_an_onnx_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = save(residual_network(), tmp_path / "m.onnx")
    assert sources.onnx_file(path) == path
    assert prunemap.compile(str(path), tune=None).manifest.source_path == str(path)


def test_torch_is_not_imported_for_an_onnx_file(tmp_path: Path) -> None:
    path = save(residual_network(), tmp_path / "m.onnx")
    code = f"import sys, prunemap; prunemap.inspect({str(path)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_torch_it_says_what_to_install(pt2: Path, module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise sources.PackageNotFoundError(name)

    monkeypatch.setattr("prunemap.sources.version", missing)
    for model in (pt2, module):
        with pytest.raises(UserError, match=r"not installed; install it with: pip install 'prunemap\[train\]'"):
            prunemap.compile(model, EXAMPLE)


def test_what_is_no_network() -> None:
    with pytest.raises(UserError, match="model: got int, allowed are a path, a torch module"):
        prunemap.compile(3)  # type: ignore[call-overload]
    with pytest.raises(UserError, match="no such file"):
        prunemap.compile("missing.pt2")
