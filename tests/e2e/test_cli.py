"""The stages from the command line on a small network, and the JSON that scripts may rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from prunemap.cli import VERBS
from prunemap.cli.profile import Densities, Schemes
from tests.command_line import run
from tests.networks import residual_network, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    save(residual_network(), folder / "m.onnx")
    run("compile", folder / "m.onnx", "-o", folder / "m.pmap", "--no-tune")
    return folder


def test_inspect_json(folder: Path) -> None:
    found = json.loads(run("inspect", folder / "m.onnx", "--json"))
    assert found["unsupported"] == []
    first = found["layers"][1]
    assert first["name"] == "block.a" and first["kind"] == "conv" and first["weight_shape"] == [8, 8, 3, 3]
    assert first["macs"] == 8 * 8 * 9 * 16 * 12 and first["params"] == 576
    assert first["structure"] == "punched:4x2" and 0.25 < first["density"] < 0.35


def test_bench_json_keeps_the_contract(folder: Path) -> None:
    found = json.loads(
        run("bench", folder / "m.pmap", "--quick", "--threads", 1, "--vs", "onnxruntime,dense", "--json")
    )
    assert [each["engine"] for each in found["results"]] == ["prunemap", "onnxruntime", "dense"]
    for each in found["results"]:
        assert 0 < each["p10_ms"] <= each["median_ms"] <= each["p90_ms"] and each["runs"] >= 10
    assert set(found["ratios"]) == {"onnxruntime", "dense"} and min(found["ratios"].values()) > 0
    assert found["max_relative_error"] < 1e-4 and found["machine"]["cpu"]


def test_bench_without_the_source_names_the_option(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "gone.onnx"
    moved.write_bytes((folder / "m.onnx").read_bytes())
    run("compile", moved, "-o", tmp_path / "m.pmap", "--no-tune")
    moved.unlink()
    assert "--reference" in run("bench", tmp_path / "m.pmap", "--quick", code=2)
    run("bench", tmp_path / "m.pmap", "--reference", folder / "m.onnx", "--quick")


def test_run_writes_the_outputs_by_name(folder: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 12), np.float32)
    np.save(folder / "x.npy", x)
    run("run", folder / "m.pmap", folder / "x.npy", "-o", folder / "y.npz")
    (want,) = ReferenceEvaluator(str(folder / "m.onnx")).run(None, {"x": x})
    with np.load(folder / "y.npz") as outputs:
        (name,) = outputs.files
        np.testing.assert_allclose(outputs[name], want, atol=1e-4)


def test_run_takes_a_picture(folder: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((32, 40, 3), 128, np.uint8)).save(folder / "grey.png")
    run("run", folder / "m.pmap", folder / "grey.png", "-o", folder / "p.npz", "--mean", "0.5", "--std", "0.5,0.5,0.5")
    x = np.full((1, 3, 16, 12), (128 / 255 - 0.5) / 0.5, np.float32)
    (want,) = ReferenceEvaluator(str(folder / "m.onnx")).run(None, {"x": x})
    with np.load(folder / "p.npz") as outputs:
        np.testing.assert_allclose(outputs[outputs.files[0]], want, atol=1e-4)


def test_profile_map_compile_with_the_plan(folder: Path) -> None:
    run(
        "profile",
        folder / "m.onnx",
        "-o",
        folder / "l.json",
        "--schemes",
        "unstructured,punched:4x2",
        "--densities",
        "0.1,0.5",
    )
    before = (folder / "l.json").read_bytes()
    run(
        "profile",
        folder / "m.onnx",
        "-o",
        folder / "l.json",
        "--schemes",
        "unstructured,punched:4x2",
        "--densities",
        "0.1,0.5",
    )
    assert (folder / "l.json").read_bytes() == before, "what the table has was measured again"
    result = json.loads(
        run(
            "map",
            folder / "m.onnx",
            "--latency",
            folder / "l.json",
            "--density",
            0.8,
            "-o",
            folder / "plan.json",
            "--json",
        )
    )
    plan = result["plan"]
    assert json.loads((folder / "plan.json").read_text()) == plan
    assert [layer["name"] for layer in plan["layers"]] == ["stem", "block.a", "block.b", "depthwise", "down", "fc"]
    assert plan["layers"][0]["scheme"] == "dense" and all(layer["reason"] for layer in plan["layers"])
    run("compile", folder / "m.onnx", "-o", folder / "planned.pmap", "--plan", folder / "plan.json", "--no-tune")
    run("verify", folder / "planned.pmap", folder / "m.onnx")


def test_tuning_is_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    run("compile", folder / "m.onnx", "-o", folder / "tuned.pmap")
    (kept,) = (tmp_path / ".cache" / "prunemap" / "tune").iterdir()
    assert set(json.loads(kept.read_text())) == {"stem", "block.a", "block.b", "down", "fc"}
    monkeypatch.setattr("prunemap.compiler.tune.choose_tiles", None)  # must not be needed again
    run("compile", folder / "m.onnx", "-o", folder / "tuned.pmap")
    run("verify", folder / "tuned.pmap", folder / "m.onnx")


def test_json_leaves_stdout_clean(folder: Path) -> None:
    for command in ("inspect m.onnx", "verify m.pmap m.onnx", "compile m.onnx -o again.pmap --no-tune"):
        done = subprocess.run(
            [sys.executable, "-m", "prunemap", *command.split(), "--json"],
            capture_output=True,
            text=True,
            cwd=folder,
            check=True,
        )
        json.loads(done.stdout)


def test_every_verb_explains_itself() -> None:
    listed = run("--help")
    for verb in VERBS:
        name = verb.__name__.rstrip("_")
        assert name in listed
        assert "Usage" in run(name, "--help")


def test_the_help_of_profile_names_its_defaults() -> None:
    from prunemap.latency import DEFAULT_DENSITIES, DEFAULT_SCHEMES

    schemes, densities = (get_args(option)[1].help for option in (Schemes, Densities))
    assert f"default: {','.join(map(str, DEFAULT_SCHEMES))}." in schemes
    assert f"default: {','.join(f'{each:g}' for each in DEFAULT_DENSITIES)}." in densities


def test_importing_prunemap_is_light() -> None:
    code = (
        "import sys, prunemap; prunemap.Engine; "
        "heavy = {'torch', 'onnx', 'pydantic', 'onnxruntime'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_there() -> None:
    import prunemap

    for name in prunemap.__all__:
        assert callable(getattr(prunemap, name))
