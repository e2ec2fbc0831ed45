"""How failures of a verb become messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prunemap.cli.app import EXTRA_OF

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from prunemap.cli import main; main()"


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
