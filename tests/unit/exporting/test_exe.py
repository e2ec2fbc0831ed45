"""The static program: it checks itself, times itself, and says what is wrong."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import compile_model
from prunemap.errors import UserError
from prunemap.exporting import export_program, probe_inputs, read_raw, write_raw
from prunemap.exporting.exe import executable
from prunemap.exporting.reference import OutputSample, Reference, make_reference
from prunemap.runtime import Engine, Program
from tests.networks import residual_network, save


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(residual_network(), tmp_path_factory.mktemp("export") / "net.onnx")


@pytest.fixture(scope="module")
def program(model: Path) -> Program:
    return compile_model(model, tune=None)


@pytest.fixture(scope="module")
def exe(program: Program, model: Path) -> Path:
    result = export_program(program, model.parent / "net", "exe", find_compiler(), name="net", model=model)
    assert result.reference.startswith("onnx")
    assert result.size_bytes <= result.weight_bytes + 300_000
    return model.parent / "net"


def run(exe: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([exe, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_it_checks_and_times_itself(exe: Path, program: Program) -> None:
    done = run(exe, "--runs", 3, "--threads", 2, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"] == "net" and found["target"] == program.manifest.target and found["threads"] == 2
    assert found["check"]["passed"] and found["check"]["max_relative_error"] < 1e-5
    assert len(found["run_us"]) == 3 and min(found["run_us"]) > 0
    assert tuple(slot["name"] for slot in found["slots"]) == program.manifest.slots
    tables = run(exe, "--runs", 1)
    assert tables.returncode == 0 and "check: passed" in tables.stdout and "block.a" in tables.stdout
    assert run(exe, "--runs", 0).returncode == 0


def test_inputs_and_outputs_are_files(exe: Path, program: Program, tmp_path: Path) -> None:
    infos = program.manifest.inputs
    x = np.random.default_rng(0).standard_normal(infos[0].shape, np.float32)
    write_raw(tmp_path / "in", infos, {"x": x})
    done = run(exe, "--inputs", tmp_path / "in", "--outputs", tmp_path / "out", "--runs", 0, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["check"] is None
    with Engine(program) as engine:
        (want,) = engine.run(x)
        (probed,) = engine.run(probe_inputs(infos))
    np.testing.assert_allclose(read_raw(tmp_path / "out", program.manifest.outputs)[0], want, rtol=1e-6, atol=1e-6)
    run(exe, "--outputs", tmp_path / "out", "--runs", 0)
    np.testing.assert_allclose(read_raw(tmp_path / "out", program.manifest.outputs)[0], probed, rtol=1e-6, atol=1e-6)


def test_every_time_is_written(exe: Path, program: Program, tmp_path: Path) -> None:
    done = run(exe, "--runs", 5, "--times", tmp_path / "times", "--json")
    seconds = np.fromfile(tmp_path / "times").reshape(5, len(program.manifest.slots))
    medians = [slot["median_us"] for slot in json.loads(done.stdout)["slots"]]
    np.testing.assert_allclose(np.median(seconds, axis=0) * 1e6, medians, atol=1e-3)


def test_wrong_outputs_end_in_another_exit_code(program: Program, model: Path, tmp_path: Path) -> None:
    reference = make_reference(program, model)
    (sample,) = reference.outputs
    values = (*sample.values[:-1], sample.values[-1] + 2e-4 * sample.magnitude)
    wrong = replace(reference, outputs=(replace(sample, values=values),))
    executable(program, "net", wrong, find_compiler(), tmp_path / "wrong")
    done = run(tmp_path / "wrong", "--runs", 1)
    assert done.returncode == 1 and "check: FAILED" in done.stdout
    assert run(tmp_path / "wrong", "--runs", 1, "--no-check").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, "Exit codes: 0 done"),
        (["--thread", "2"], 2, "--thread: no such option"),
        (["--threads"], 2, "--threads: got ''"),
        (["--threads", "0"], 2, "--threads: got '0'"),
        (["--runs", "1e3"], 2, "--runs: got '1e3'"),
        (["--inputs", "/nowhere/x"], 2, "--inputs: /nowhere/x is not there or not of the size"),
        (["--inputs", "/dev/null"], 2, "--inputs: /dev/null is not there or not of the size"),
        (["--outputs", "/nowhere/x"], 2, "--outputs: /nowhere/x cannot be written"),
        (["--times", "/nowhere/x"], 2, "--times: /nowhere/x cannot be written"),
    ],
)
def test_usage(exe: Path, arguments: list[str], code: int, message: str) -> None:
    done = run(exe, *arguments)
    assert done.returncode == code and message in done.stdout + done.stderr


def test_a_reference_without_the_onnx_file_is_the_program_itself(program: Program, tmp_path: Path) -> None:
    gone = replace(program, manifest=replace(program.manifest, source_path=str(tmp_path / "gone.onnx")))
    assert make_reference(gone, None).made_by.startswith("prunemap")
    foreign = replace(gone, manifest=replace(gone.manifest, target="wasm32-simd"))
    with pytest.raises(UserError, match="no reference can be made: the network's ONNX file is gone or changed"):
        make_reference(foreign, None)


def test_large_outputs_are_sampled(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.exporting.reference.MOST_VALUES", 4)
    whole = make_reference(program, None)
    (sample,) = whole.outputs
    assert isinstance(whole, Reference) and isinstance(sample, OutputSample)
    assert sample.step == 3 and len(sample.values) == 4 and sample.magnitude > 0


def test_formats_and_targets_that_do_not_go_together(model: Path, tmp_path: Path) -> None:
    web = compile_model(model, target="wasm32-simd")
    for form in ("c", "exe"):
        with pytest.raises(UserError, match=f"--format {form} cannot be made for wasm32-simd"):
            export_program(web, tmp_path / "o", form, find_compiler(), name="net")
