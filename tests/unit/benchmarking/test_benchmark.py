from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prunemap.benchmarking import BenchResult, Effort, Subject, bench, benchmark, find_source, open_subject
from prunemap.benchmarking.engines import BenchEngine, LoadedEngine
from prunemap.compiler import compile_model
from prunemap.core.files import sha256_of
from prunemap.core.plan import Plan
from prunemap.core.table import by_name
from prunemap.errors import UserError


class FakeLoaded(LoadedEngine):
    version = "fake 1"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def time_runs(self, inputs: object, runs: int) -> np.ndarray:
        return np.full(runs, self._seconds)


class FakeRow(BenchEngine):
    def __init__(self, name: str, seconds: float) -> None:
        self.name, self._seconds = name, seconds

    def load(self, subject: Subject) -> LoadedEngine:
        return FakeLoaded(self._seconds)


@pytest.fixture
def subject(onnx_file, make_engine, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """The small network; ours takes 2 ms, the others 3 and 8 ms."""

    class Engine(make_engine):
        def __init__(self, program, threads=1) -> None:
            super().__init__()

        def __enter__(self):
            return self

        def __exit__(self, *error) -> None: ...

    rows = by_name((FakeRow("prunemap", 2e-3), FakeRow("dense", 8e-3), FakeRow("onnxruntime", 3e-3)))
    monkeypatch.setattr(benchmark, "ENGINES", rows)
    monkeypatch.setattr(benchmark, "start", Engine)
    manifest = SimpleNamespace(inputs=make_engine.inputs, target="x86-64-v3", compiler="cc 1")
    return Subject(onnx_file, SimpleNamespace(manifest=manifest), threads=1)


def test_the_result_follows_the_contract(subject: Subject) -> None:
    result = bench(subject, ["dense", "onnxruntime"], effort=Effort(4, 1e-9), command="prunemap bench small.onnx")
    printed = json.loads(result.model_dump_json())
    assert [row["engine"] for row in printed["results"]] == ["prunemap", "dense", "onnxruntime"]
    assert set(printed["results"][0]) == {"engine", "median_ms", "p10_ms", "p90_ms", "runs"}
    assert printed["results"][0]["median_ms"] == pytest.approx(2)
    assert printed["ratios"] == pytest.approx({"dense": 4.0, "onnxruntime": 1.5})
    assert printed["max_relative_error"] < 1e-6
    assert printed["machine"]["target"] == "x86-64-v3"
    assert (printed["threads"], printed["rounds"]) == (1, 4)
    assert printed["command"] == "prunemap bench small.onnx"
    assert printed["model"].endswith("small.onnx") and printed["date"]
    assert BenchResult.model_validate_json(result.model_dump_json()) == result


def test_ours_is_always_there_and_once(subject: Subject) -> None:
    result = bench(subject, ["prunemap", "dense", "dense"], effort=Effort(1, 1e-9))
    assert [each.engine for each in result.results] == ["prunemap", "dense"]


def test_an_unknown_engine_is_refused_before_anything_runs(subject: Subject) -> None:
    with pytest.raises(UserError, match="--vs: got 'tvm', allowed are prunemap, dense, onnxruntime"):
        bench(subject, ["tvm"])


def program(source: str, sha256: str = "") -> SimpleNamespace:
    return SimpleNamespace(manifest=SimpleNamespace(source_path=source, source_sha256=sha256))


def test_the_source_of_a_pmap_is_found_or_asked_for(onnx_file: Path, tmp_path: Path) -> None:
    pmap = tmp_path / "model.pmap"
    assert find_source(program(str(onnx_file), sha256_of(onnx_file)), pmap) == onnx_file
    assert find_source(program("/gone/model.onnx"), pmap, onnx_file) == onnx_file
    for source in ("", "/gone/model.onnx"):
        with pytest.raises(UserError, match=r"--reference MODEL\.onnx"):
            find_source(program(source), pmap)
    with pytest.raises(UserError, match="has changed since"):
        find_source(program(str(onnx_file), "0" * 64), pmap)
    with pytest.raises(UserError, match="--reference: no such file"):
        find_source(program(""), pmap, tmp_path / "missing.onnx")


def test_threads_and_files_are_checked_first(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="threads: got 0"):
        open_subject(onnx_file, threads=0)
    with pytest.raises(UserError, match="model: no such file"):
        open_subject(tmp_path / "missing.onnx")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"target": "aarch64"}, "--target aarch64"),
        ({"shapes": {"left": (2, 3)}}, "--shape"),
        ({"fallback": "onnxruntime"}, "--fallback"),
        ({"plan": Plan(layers=())}, "--plan"),
    ],
)
def test_a_compiled_network_is_benched_as_it_is(changes: dict, said: str, onnx_file: Path, tmp_path: Path) -> None:
    compile_model(onnx_file, target="x86-64-v3", tune=None).save(tmp_path / "m.pmap")
    with pytest.raises(UserError, match=f"^{said}: .*m.pmap is compiled already, for x86-64-v3; give the model"):
        open_subject(tmp_path / "m.pmap", **changes)
    assert open_subject(tmp_path / "m.pmap", target="x86-64-v3").program.manifest.target == "x86-64-v3"
