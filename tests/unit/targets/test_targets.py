"""The rows of TARGETS, and which of them a machine gets."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from time import sleep

import pytest

from prunemap.compiler import build
from prunemap.compiler.build import Compiler, find_compiler
from prunemap.compiler.compile import compile_model
from prunemap.core.target import Target
from prunemap.errors import UserError
from prunemap.runtime import load
from prunemap.targets import TARGETS, resolve_target, why_not_here
from tests.networks import residual_network, save


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_tiles_fit_the_registers(target: Target) -> None:
    """Sums, the vectors of a unit (a row with one filter needs one at a time), and a weight."""
    for filters, vectors in target.tiles:
        assert filters * vectors + (vectors if filters > 1 else 1) + 1 <= target.registers
    assert {1, 2, 4} <= {filters for filters, _ in target.tiles}


@pytest.mark.parametrize(
    ("machine", "flags", "name"),
    [
        ("aarch64", {"fp", "asimd"}, "aarch64"),
        ("aarch64", {"fp", "asimd", "asimddp", "atomics"}, "aarch64"),
        ("x86_64", {"avx2", "fma", "bmi2"}, "x86-64-v3"),
    ],
)
def test_native_is_the_first_row_that_fits(
    machine: str, flags: set[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr("prunemap.targets.cpu_flags", lambda: frozenset(flags))
    assert resolve_target("native").name == name


def test_an_old_arm_core_cannot_run_what_is_tuned_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr("prunemap.targets.cpu_flags", lambda: frozenset({"asimd"}))
    assert why_not_here(TARGETS["cortex-a76"]) == "this CPU lacks asimddp, atomics"
    assert why_not_here(TARGETS["aarch64"]) == ""


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_flags_name_the_machine(target: Target) -> None:
    flags = find_compiler().flags(target)
    assert flags[:2] == ["-target", target.triple] and target.march.replace("-", "_") in flags[2]
    if target.static_triple:
        assert target.static_triple in find_compiler().flags(target, static=True)


@pytest.mark.parametrize("triple", sorted({target.static_triple or target.triple for target in TARGETS.values()}))
def test_targets_of_a_kind_share_the_c_library_that_zig_builds(triple: str) -> None:
    """It takes up to a minute for each set of options."""
    kind = [target for target in TARGETS.values() if triple in (target.static_triple, target.triple)]
    static = bool(kind[0].static_triple)
    assert len({tuple(find_compiler().libc_flags(target, static=static)) for target in kind}) == 1 < len(kind)
    assert triple in find_compiler().libc_flags(kind[0], static=static)
    given = Compiler(("gcc",), "1.0", is_zig=False, machine=kind[0].arch)
    assert not given.libc_flags(kind[0], static=static), "it has its own"
    assert not static or not find_compiler().libc_flags(kind[0]), "a .pmap takes that of the machine"


def test_a_long_wait_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_SLOW_S", 0.0)
    with build._said_if_slow("building, once"):
        for _ in range(1000):
            if caplog.text:
                break
            sleep(0.01)
    assert "building, once" in caplog.text
    monkeypatch.setattr(build, "_SLOW_S", 60.0)
    with build._said_if_slow("not yet"):
        pass
    assert "not yet" not in caplog.text


@pytest.mark.parametrize(
    ("machine", "wrong"),
    [("x86_64-linux-gnu", "aarch64"), ("arm64-apple-darwin22", "x86-64-v3"), ("i686-pc", "x86-64-v3")],
)
def test_a_compiler_of_another_machine(machine: str, wrong: str) -> None:
    compiler = Compiler(("some-cc", "-m64"), "1.0", is_zig=False, machine=machine)
    for name, target in TARGETS.items():
        if {"x86_64": "x86_64", "arm64": "aarch64"}.get(machine.split("-", maxsplit=1)[0]) == target.arch:
            assert f"{target.march_option}={target.march}" in compiler.flags(target), name
    message = f"--cc: some-cc -m64 makes code for {machine}, the target {wrong} needs {TARGETS[wrong].arch}: name a"
    with pytest.raises(UserError, match=re.escape(message)):
        compiler.flags(TARGETS[wrong])


@pytest.mark.skipif(platform.machine() == "aarch64", reason="an ARM machine loads it")
def test_a_program_for_arm_is_made_anywhere_and_refused_here(tmp_path: Path) -> None:
    program = compile_model(save(residual_network(), tmp_path / "m.onnx"), target="aarch64")
    program.save(tmp_path / "m.pmap")
    assert program.library[:4] == b"\x7fELF" and program.library[18] == 183, "e_machine of AArch64"
    with pytest.raises(UserError, match=f"compiled for aarch64: this machine is {platform.machine()}"):
        load(tmp_path / "m.pmap")
