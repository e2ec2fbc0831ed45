"""What docs/tutorial.md says to type works, in order: its modules, its Python, its commands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prunemap.cli import app

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
SHORTER = {
    "-o latency.json": "-o latency.json --densities 0.2 --schemes unstructured,punched:8x4",
    "bench dense.onnx": "bench dense.onnx --quick --no-tune",
    "bench pruned.pmap": "bench pruned.pmap --quick",
    "-o pruned.pmap": "-o pruned.pmap --no-tune",
}


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    blocks = re.findall(r"```(\w+) ?(\S*)\n(.*?)```", TUTORIAL, re.DOTALL)
    assert [language for language, *_ in blocks].count("sh") == 3
    for language, name, text in blocks:
        if name:
            Path(name).write_text(text)
        elif language == "python":
            exec(text, {})
        else:
            for command in text.splitlines():
                run(command)
    sys.modules.pop("net")
    printed = dict(re.findall(r"(dense|pruned): ([\d.]+)", capsys.readouterr().out))
    assert float(printed["dense"]) > 0.9 and float(printed["pruned"]) > 0.9
    assert "latency, measured" in Path("report.html").read_text()


def run(command: str) -> None:
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    command, _, target = command.partition(" > ")
    result = CliRunner().invoke(app, command.split()[1:])
    assert result.exit_code == 0, f"{command}\n{result.output}"
    if target:
        Path(target).write_text(result.stdout)
