"""What the README says to type works: its commands in order, and its Python, on a tiny network and tiny data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import prunemap
from prunemap.cli import app
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.datasets import load_dataset
from prunemap.pruning import TrainConfig, build_described, describe_model, export_onnx, load_checkpoint, save_checkpoint

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
SHORTER = {
    "--epochs 10": "--epochs 1 --lr 0.01 --data image-folder --data-folder images",
    "-o latency.json": "-o latency.json --densities 0.5 --schemes unstructured,punched:8x4",
    "--vs onnxruntime,dense": "--vs onnxruntime,dense --quick",
    "-o pruned.pmap": "-o pruned.pmap --no-tune",
    "--device local": "--device local --quick --no-tune",
    "--target aarch64": "--target x86-64-v3 --no-tune",  # its C library is there by now, that of ARM64 takes a minute
    "density 0.2": "density 0.7",  # on so small layers little beats dense
}


def block(language: str, containing: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README starts from."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for name, level in (("dark", 60), ("light", 180)):
            (folder / "images" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(level - 40, level + 40, (16, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "images" / split / name / f"{i}.png")
    Image.fromarray(pixels).save(folder / "picture.jpg")
    data = load_dataset("image-folder", folder / "images")
    info = describe_model("resnet8", {"width": 0.25}, data)
    module = build_described(info)
    save_checkpoint(folder / "dense.safetensors", module, info)
    export_onnx(module, torch.zeros(1, 3, 16, 16), folder / "model.onnx")
    return folder


def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for line in block("sh", "prunemap profile").splitlines():
        command = line.partition("#")[0].strip()
        for long, short in SHORTER.items():
            command = command.replace(long, short)
        result = CliRunner().invoke(app, command.split()[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"


def test_the_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if not Path("latency.json").exists():
        prunemap.profile(["model.onnx"], "latency.json", densities=(0.5,), schemes=[SchemeSpec("punched", (8, 4))])
    module, _ = load_checkpoint("dense.safetensors")
    code = block("python", "import prunemap").replace("density=0.2", "density=0.7")
    code = code.replace("prunemap.TrainConfig(epochs=10)", "config").replace("plan=plan)", "plan=plan, tune=None)")
    names = {
        "module": module,
        "example_input": torch.zeros(1, 3, 16, 16),
        "dataset": load_dataset("image-folder", "images"),
        "config": TrainConfig(epochs=1, batch_size=8, lr=0.01, warmup_epochs=0),
        "x": np.zeros((1, 3, 16, 16), np.float32),
    }
    exec(code, names)
    assert names["outputs"][0].shape == (1, 2)
