"""How failures of a verb become messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prunemap.cli.app import BESIDE_CHECKPOINT, EXTRA_OF
from prunemap.pruning import StageFiles
from tests.command_line import run
from tests.networks import residual_network, save

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from prunemap.__main__ import main; main()"
INTERRUPTED = """
import builtins
from prunemap.__main__ import main

load = builtins.__import__

def stop(name, *rest):
    if name == "typer":
        raise KeyboardInterrupt
    return load(name, *rest)

builtins.__import__ = stop
main()
"""


@pytest.mark.parametrize("package", ["torch", "PIL"])
def test_a_missing_package_names_the_extra(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, package, "train", "resnet8", "-o", str(tmp_path / "out.safetensors")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert result.stderr == f"error: train: it needs {package}, which is not installed; pip install 'prunemap[train]'\n"
    assert not list(tmp_path.iterdir())


def test_every_package_is_in_its_extra() -> None:
    lines = (Path(__file__).parents[3] / "pyproject.toml").read_text().splitlines()
    names = {"PIL": "pillow", "yaml": "pyyaml"}
    for package, extra in EXTRA_OF.items():
        listed = next(line for line in lines if line.startswith(f"{extra} = ["))
        assert f'"{names.get(package, package)}>' in listed, package


@pytest.mark.parametrize(
    "line", ["compile {} --no-tune", "prune {} --plan plan.json", "export {} --format exe", "map {} --latency l.json"]
)
def test_no_output_replaces_an_input(line: str, tmp_path: Path) -> None:
    model = save(residual_network(), tmp_path / "m.onnx")
    before = model.read_bytes()
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    for output in (model, link):
        said = run(*line.format(model).split(), "-o", output, code=2)
        assert f"output: {output} is an input, too, and would be lost" in said
        assert model.read_bytes() == before


def test_no_output_replaces_what_an_option_names(tmp_path: Path) -> None:
    table = tmp_path / "latency.json"
    table.write_text("hours of measuring")
    said = run("map", tmp_path / "m.onnx", "--latency", table, "--density", 0.2, "-o", table, code=2)
    assert f"output: {table} is an input, too, and would be lost" in said
    assert table.read_text() == "hours of measuring"


def test_no_output_replaces_an_input_by_a_file_beside_it(tmp_path: Path) -> None:
    plan = tmp_path / "net.json"
    plan.write_text("a plan")
    said = run("prune", tmp_path / "d.safetensors", "--plan", plan, "-o", tmp_path / "net.safetensors", code=2)
    assert f"output: {plan} is an input, too, and would be lost" in said
    assert plan.read_text() == "a plan"


def test_every_file_beside_a_checkpoint_is_known(tmp_path: Path) -> None:
    files = StageFiles(tmp_path / "net.safetensors")
    written = {*files.results, files.masks, files.run, files.pruning_run} - {files.checkpoint}
    assert {files.checkpoint.with_suffix(end) for end in BESIDE_CHECKPOINT} == written


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_room_is_no_defect(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prunemap", "inspect", str(save(residual_network(), tmp_path / "m.onnx"))]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == "error: inspect: cannot write: No space left on device\n"
    assert result.returncode == 2


def test_an_interrupt_before_the_verb_begins_is_quiet() -> None:
    result = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")
