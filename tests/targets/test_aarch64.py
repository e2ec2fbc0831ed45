"""Programs for ARM64 under qemu: right numbers; of times it says nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from prunemap.compiler.build import find_compiler
from prunemap.exporting import read_raw, write_raw
from prunemap.exporting.exe import executable
from prunemap.sources import export_compiled
from prunemap.targets import TARGETS
from tests.networks import residual_network, save
from tests.targets.programs import FEW, MAKERS, make_subject, whole_network

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="no qemu-aarch64 on this machine: ARM64 programs are not run")
WHOLE = pytest.mark.whole
ARM = [name for name, target in TARGETS.items() if target.arch == "aarch64"]


def run_exe(exe: Path, *arguments: object) -> str:
    done = subprocess.run([str(QEMU), exe, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize(
    ("maker", "target", "shift"),
    [
        *[pytest.param(maker, "aarch64", shift, marks=WHOLE) for maker in MAKERS for shift in (0, 1, 2)],
        *[pytest.param("layers", target, 1, marks=WHOLE) for target in ARM if target != "aarch64"],
        *[(maker, "aarch64", 0) for maker in FEW],
    ],
)
def test_kernels_agree_with_the_interpreter(maker: str, target: str, shift: int, tmp_path: Path) -> None:
    subject = make_subject(maker, target, shift)
    subject.check_families()
    ends = subject.program.manifest
    executable(subject.program, maker, subject.unchecked, find_compiler(), tmp_path / "exe")
    write_raw(tmp_path / "in", ends.inputs, subject.inputs)
    for threads in (1, 3):
        files = ("--inputs", tmp_path / "in", "--outputs", tmp_path / "out", "--threads", threads)
        run_exe(tmp_path / "exe", *files, "--runs", 1)
        subject.check(read_raw(tmp_path / "out", ends.outputs), f"{target} {threads} threads")


def test_a_network_checks_itself(tmp_path: Path) -> None:
    model = save(residual_network(), tmp_path / "net.onnx")
    result = export_compiled(model, tmp_path / "net", "exe", target="aarch64")
    assert result.size_bytes <= result.weight_bytes + 300_000
    found = json.loads(run_exe(tmp_path / "net", "--json", "--runs", 1))
    assert found["target"] == "aarch64" and found["check"]["max_relative_error"] < 1e-5


@WHOLE
@pytest.mark.parametrize("target", ARM)
@pytest.mark.parametrize("network", ["resnet20", "efficientnet-lite0"])
def test_whole_networks(network: str, target: str, tmp_path: Path) -> None:
    model = whole_network(network, tmp_path / "net.onnx")
    result = export_compiled(model, tmp_path / "net", "exe", target=target)
    assert result.size_bytes <= result.weight_bytes + 300_000
    found = json.loads(run_exe(tmp_path / "net", "--json", "--runs", 0))
    assert found["check"]["max_relative_error"] < found["check"]["tolerance"] == 1e-4
