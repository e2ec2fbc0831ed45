"""`prunemap prune --recipe` as users run it: published recipes, own networks, interruption, several processes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from prunemap.cli import app
from prunemap.compiler import read_specs
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import write_json
from prunemap.models import build_model
from prunemap.pruning.training.train import _Run
from tests.made_up_table import made_up_table

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
SHORT = {"threads": 1, "prune.training.epochs": 1, "retrain.epochs": 1, "control": "false"}
"""What makes a recipe of ImageNet short."""
WIDTHS = {"resnet50": 0.125, "mobilenetv2": 0.25, "vgg16": 0.06}
PIXELS = {"resnet50": 32, "mobilenetv2": 32, "vgg16": 224}
OWN = """\
from torch import nn

def make(channels):
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, 2), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 36, 10),
    )
"""
OWN_RECIPE = """\
threads: 1
model: {name: 'net.py:make', options: {channels: 4}}
dense: {epochs: 1, batch_size: 300, lr: 0.02}
layers: [{match: '3', scheme: 'punched:4x2', density: 0.4}]
prune: {method: gradual, updates: 4, training: {epochs: 2, batch_size: 300, lr: 0.02}}
retrain: {epochs: 2, batch_size: 300, lr: 0.02, distillation: 0.5}
"""


def invoke(*arguments: object, changes: dict[str, object] | None = None) -> tuple[int, str]:
    options = [option for key, value in (changes or {}).items() for option in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(app, ["prune", *map(str, arguments), *options])
    return result.exit_code, result.output


def rows(folder: Path) -> list[tuple[str, str]]:
    with (folder / "log.csv").open() as file:
        return [(row["phase"], row["epoch"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like ImageNet; its images are too large to be held in memory."""
    folder, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for name, level in (("n01440764", 60), ("n01443537", 180)):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(level - 40, level + 40, (72, 80 + i, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.JPEG")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A recipe for a network of one's own."""
    (tmp_path / "net.py").write_text(OWN)
    (tmp_path / "r.yaml").write_text(OWN_RECIPE)
    return tmp_path / "r.yaml"


@pytest.mark.parametrize(
    "name", ["vgg16", *(pytest.param(name, marks=pytest.mark.whole) for name in ("resnet50", "mobilenetv2"))]
)
def test_imagenet(name: str, photographs: Path, tmp_path: Path) -> None:
    """From a file as torchvision publishes it to the last table, on a narrow network."""
    module = build_model(name, (3, PIXELS[name], PIXELS[name]), 2, {"width": WIDTHS[name]})
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    changes = {
        **SHORT,
        "model.start": tmp_path / "weights.pth",
        "model.options.width": WIDTHS[name],
        "data.image_size": PIXELS[name],
        "prune.training.batch_size": 8,
        "retrain.batch_size": 8,
    }
    recipe = RECIPES / f"imagenet-{name}.yaml"
    code, output = invoke("--recipe", recipe, "--data-folder", photographs, "-o", tmp_path / "out", changes=changes)
    assert code == 0, output
    assert "pruned layers" in output and f"{name} on image-folder" in output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert 0.1 < summary["macs_kept"]["mean"] < 0.6
    onnx.checker.check_model(onnx.load(tmp_path / "out" / "seed-0" / "pruned.onnx"))
    assert rows(tmp_path / "out" / "seed-0") == [("prune", "1"), ("retrain", "1")]


def test_fashion_mnist(tmp_path: Path) -> None:
    batches = {f"{phase}.batch_size": 500 for phase in ("dense", "prune.training", "retrain")}
    changes = {**SHORT, **batches, "model.options.width": 0.125, "dense.epochs": 1, "seeds": "[7]"}
    code, output = invoke("--recipe", RECIPES / "fashion-mnist-resnet8.yaml", "-o", tmp_path, changes=changes)
    assert code == 0, output
    assert max(map(len, output.splitlines())) <= 80
    found = json.loads((tmp_path / "summary.json").read_text())
    assert 0.15 < found["rates"]["density"] < 0.25 and all(
        0 < layer["energy"] < 1 for layer in found["rates"]["layers"]
    )


def test_own_network_seeds_and_control(own: Path) -> None:
    out = own.parent / "out"
    code, output = invoke("--recipe", own, "-o", out, changes={"seeds": "[3, 5]", "control": "true"})
    assert code == 0, output
    assert {path.name for path in out.iterdir()} == {"recipe.json", "plan.json", "summary.json", "seed-3", "seed-5"}
    summary = json.loads((out / "summary.json").read_text())
    first, second = summary["seeds"]
    assert (first["seed"], second["seed"]) == (3, 5) and first != second | {"seed": 3}
    assert summary["loss"]["mean"] == pytest.approx(np.mean([s["control"] - s["pruned"] for s in (first, second)]))
    assert "mean" in output and "control" in output
    found = rows(out / "seed-3")
    assert found == [(phase, str(epoch)) for phase, epochs in PHASES for epoch in range(1, epochs + 1)]
    weights, masks = (load_file(out / "seed-5" / f"pruned{end}.safetensors") for end in ("", ".masks"))
    assert not weights["3.weight"][~masks["3"]].any()
    code, again = invoke("--recipe", own, "-o", out, changes={"seeds": "[3, 5]", "control": "true"})
    assert code == 2 and "holds a run already; go on with --resume" in again


def test_a_latency_is_asked_for(own: Path) -> None:
    """By a table of the exported network; a run that goes on must have the same."""
    out, table = own.parent / "out", own.parent / "latency.json"
    assert invoke("--recipe", own, "-o", own.parent / "first")[0] == 0
    specs = read_specs(own.parent / "first" / "seed-0" / "dense.onnx")
    dense_ms = sum(1 + spec.macs / 5e4 for spec in specs) / 1e3
    saved_ms = next(spec.macs for spec in specs if spec.module == "3") / 5e7
    budget = {"prune.latency": table, "prune.latency_ms": dense_ms - saved_ms / 2}
    write_json(table, made_up_table(spec.setting for spec in specs))
    code, output = invoke("--recipe", own, "-o", out, changes=budget)
    assert code == 2 and "was not measured as punched:4x2" in output
    schemes = [SchemeSpec.parse("punched:4x2")]
    write_json(table, made_up_table((spec.setting for spec in specs), schemes=schemes))
    code, output = invoke("--recipe", own, "-o", out, changes=budget)
    assert code == 0 and "predicted latency" in output
    rates = json.loads((out / "summary.json").read_text())["rates"]
    assert dense_ms - 0.7 * saved_ms < rates["latency_ms"] <= dense_ms - 0.4999 * saved_ms
    write_json(table, made_up_table((spec.setting for spec in specs), {"punched": 1.5}, schemes))
    code, output = invoke("--recipe", own, "-o", out, "--resume", changes=budget)
    assert code == 2 and "it started from other weights or masks" in output


PHASES = (("dense", 1), ("control-prune", 2), ("control", 2), ("prune", 2), ("retrain", 2))


def test_interrupted_and_resumed_it_ends_in_the_same(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, stopped = own.parent / "straight", own.parent / "stopped"
    assert invoke("--recipe", own, "-o", straight)[0] == 0
    step, calls = _Run.train_step, []

    def counted(self: _Run, *given: object) -> float:
        calls.append(1)
        if len(calls) == 5 * self.steps - 2:  # in the second epoch of the retraining
            raise KeyboardInterrupt
        return step(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(_Run, "train_step", counted)
        code, output = invoke("--recipe", own, "-o", stopped)
    assert code == 130 and "what was finished is kept" in output
    code, output = invoke("--recipe", own, "-o", stopped, "--resume")
    assert code == 0 and "dense network: reused" in output
    assert rows(stopped / "seed-0") == rows(straight / "seed-0")
    assert (stopped / "summary.json").read_text() == (straight / "summary.json").read_text()
    one, other = (load_file(folder / "seed-0" / "pruned.safetensors") for folder in (straight, stopped))
    assert all(torch.equal(one[name], other[name]) for name in one)
    record = (stopped / "recipe.json").read_bytes()
    code, output = invoke("--recipe", own, "-o", stopped, "--resume", changes={"retrain.lr": 0.04})
    assert code == 2 and "lr: 0.02 in the file, 0.04 asked for" in output
    assert (stopped / "recipe.json").read_bytes() == record, "the run is what it was"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.name=none.py:make", r"model.name: no such file: none.py"),
        ("model.options.channels=four", "model.name: make of "),
        ("model.options.width=1", "got an unexpected keyword argument 'width'"),
        ("data.name=mnist", "dataset: got 'mnist', allowed are fashion-mnist-subset"),
        ("layers.0.match=conv9", "layers.0.match: 'conv9' matches no layer; there are 0, 3, 6"),
        ("layers.0.scheme=block:4x4", "layer '3'"),
        ("layers.0.scheme=dense", "layers.0: density: got 0.4 with the scheme dense"),
        ("prune.density=0.00001", "density: got 1e-05, the least possible is"),
        ("model.start=none.pth", "model.start: no such file: none.pth"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(own: Path, change: str, message: str) -> None:
    out = own.parent / "out"
    code, output = invoke("--recipe", own, "-o", out, "--set", change)
    assert code == 2 and message in output
    assert not list(out.glob("*"))


def test_a_network_that_cannot_be_exported_is_said_before_anything_is_trained(own: Path) -> None:
    odd = OWN.replace("return nn.Sequential(", "return nn.Sequential(Odd(), ") + ODD
    (own.parent / "net.py").write_text(odd)
    code, output = invoke("--recipe", own, "-o", own.parent / "out", "--set", "layers.0.match='4'")
    assert code == 2 and "cannot export" in output
    assert not list((own.parent / "out").glob("*"))


ODD = """

class Odd(nn.Module):
    def forward(self, x):
        return x * 1.0 if x.sum().item() > 0 else x * 2.0
"""


def test_options_that_a_recipe_does_not_go_with(own: Path) -> None:
    code, output = invoke("x.safetensors", "--recipe", own, "--lambda", 1, "--epochs", 3)
    assert code == 2
    for line in ("x.safetensors: write --set model.start=FILE", "--lambda: write --set prune.lambda=…"):
        assert line in output
    assert "--epochs: write --set retrain.epochs=…" in output
    code, output = invoke("--recipe", own)
    assert code == 2 and "output: missing; write it into the recipe, or give -o FOLDER" in output
    code, output = invoke("--set", "a=b")
    assert code == 2 and "--set: it changes a recipe" in output
    code, output = invoke()
    assert code == 2 and "--plan, -o/--output: missing; or give --recipe" in output


def test_the_schema_is_printed() -> None:
    code, output = invoke("--recipe-schema")
    assert code == 0 and output == (RECIPES / "schema.json").read_text()


def test_two_processes_make_one_network(own: Path) -> None:
    """By torchrun, as on two GPUs: files like those of one process, and about its accuracy."""
    out, alone = own.parent / "out", own.parent / "alone"
    shorter = ["--set", "retrain.epochs=1"]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "prunemap", "prune"]
    done = subprocess.run(
        [sys.executable, *command, "--recipe", str(own), "-o", str(out), "--json", *shorter],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=own.parent,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "summary.json").read_text()), "one process prints"
    assert done.stderr.count("seed 0: pruned network") == 1
    assert invoke("--recipe", own, "-o", alone, *shorter)[0] == 0
    assert {path.name for path in (out / "seed-0").iterdir()} == {path.name for path in (alone / "seed-0").iterdir()}
    assert rows(out / "seed-0") == rows(alone / "seed-0")
    weights, masks = (load_file(out / "seed-0" / f"pruned{end}.safetensors") for end in ("", ".masks"))
    assert not weights["3.weight"][~masks["3"]].any()
    pruned, expected = (json.loads((folder / "summary.json").read_text()) for folder in (out, alone))
    assert pruned["macs_kept"] == expected["macs_kept"]
    assert pruned["dense"]["mean"] == pytest.approx(expected["dense"]["mean"], abs=0.1)
