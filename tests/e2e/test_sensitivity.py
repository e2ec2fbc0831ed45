"""Sensitivity of a trained network, from the command line, and the plan that it changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prunemap.compiler import read_specs
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import write_json
from prunemap.datasets import load_dataset
from prunemap.pruning import build_described, describe_model, export_onnx, save_checkpoint
from tests.command_line import run_line
from tests.made_up_table import made_up_table

SCHEMES = [SchemeSpec("unstructured"), SchemeSpec("filter")]
MEASURE = "sensitivity dense.safetensors -o s.json --images 20 --schemes unstructured,filter --densities 0.2,0.5"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import torch

    data = load_dataset("fashion-mnist-subset")
    info = describe_model("resnet8", {"width": 0.25}, data)
    module = build_described(info)
    save_checkpoint(tmp_path / "dense.safetensors", module, info)
    export_onnx(module, torch.zeros(1, *data.input_shape), tmp_path / "dense.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sensitivity_and_the_plan_it_changes(folder: Path) -> None:
    text = run_line(f"{MEASURE} --plot s.svg")
    assert "sensitivity of dense" in text and "layer3.0.conv2" in text
    assert (folder / "s.svg").read_text().startswith("<?xml")
    before = (folder / "s.json").read_bytes()
    found = json.loads(run_line(f"{MEASURE} --json"))
    assert (folder / "s.json").read_bytes() == before and json.loads(before) == found
    assert {row["layer"] for row in found["rows"]} >= {"conv1", "layer1.0.conv1", "fc"}
    write_json(
        folder / "l.json", made_up_table((spec.setting for spec in read_specs(folder / "dense.onnx")), schemes=SCHEMES)
    )
    result = json.loads(
        run_line("map dense.onnx --latency l.json --density 0.8 --sensitivity s.json -o plan.json --json")
    )
    plan = result["plan"]
    assert plan == json.loads((folder / "plan.json").read_text()) and result["latency_us"] < result["dense_latency_us"]
    pruned = [layer for layer in plan["layers"] if layer["scheme"] != "dense"]
    assert pruned and all("; sensitivity " in layer["reason"] for layer in pruned)
