"""Networks in segments: files of several programs, the engine that runs them, files made to harm."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

import prunemap
from prunemap.compiler import compile_with_fallback
from prunemap.core.artifact import Manifest
from prunemap.errors import UserError
from prunemap.runtime import Engine, Pipeline, SegmentedEngine, load, open_session, read_program, start
from tests.networks import OnnxBuilder, save

MEMBERS = {
    "manifest.json",
    *(f"{k}/{name}" for k in (0, 2) for name in ("manifest.json", "program.so", "program.c", "weights.bin")),
    "1/model.onnx",
}


def network() -> onnx.ModelProto:
    b = OnnxBuilder()
    y = b.node("Einsum", b.conv("x", (4, 3, 3, 3), name="first"), equation="nchw->ncwh", name="odd")
    return b.model([1, 3, 8, 6], b.conv(y, (4, 4, 3, 3), name="second"), 4)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    made = compile_with_fallback(save(network(), tmp_path_factory.mktemp("m") / "m.onnx"), tune=None)
    assert isinstance(made, Pipeline)
    return made


@pytest.fixture
def path(pipeline: Pipeline, tmp_path: Path) -> Path:
    pipeline.save(tmp_path / "m.pmap")
    return tmp_path / "m.pmap"


def inputs(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 8, 6), np.float32)


def test_a_saved_pipeline_runs_as_the_one_in_memory(pipeline: Pipeline, path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == MEMBERS
    with start(pipeline) as made, prunemap.load(path, threads=2) as loaded:
        assert isinstance(loaded, SegmentedEngine)
        np.testing.assert_array_equal(made.run(inputs())[0], loaded.run({"x": inputs()})[0])
        assert loaded.manifest.segments == pipeline.manifest.segments
    again = read_program(path)
    again.save(path.with_name("again.pmap"))
    assert path.with_name("again.pmap").read_bytes() == path.read_bytes()


def test_timing_covers_every_slot_and_counts_the_runs(pipeline: Pipeline) -> None:
    with start(pipeline) as engine:
        slots = engine.time_slots(inputs(), 3)
        assert engine.slots == (
            *("first", "0: input x", "0: output first_out", "1: onnxruntime"),
            *("second", "2: input odd_out", "2: output second_out"),
        )
        assert slots.shape == (3, 7) and (slots > 0).all()
        for timed in (engine.time_runs, engine.time_slots):
            with pytest.raises(UserError, match="runs: got -1, allowed is a whole number"):
                timed(inputs(), -1)
        seconds = engine.time_runs(inputs(), 4)
        assert seconds.shape == (4,) and (seconds > 0).all()


def test_inputs_that_do_not_fit_and_a_closed_engine(pipeline: Pipeline) -> None:
    engine = start(pipeline)
    with pytest.raises(UserError, match=r"'x' has shape \[1, 3, 8, 5\], allowed is \[1, 3, 8, 6\]"):
        engine.run(inputs()[..., :5])
    engine.close()
    engine.close()
    with pytest.raises(UserError, match="engine: it was closed"):
        engine.run(inputs())


def test_the_engine_of_one_program_says_what_to_use(path: Path) -> None:
    with pytest.raises(UserError, match=r"segments for ONNX Runtime; load it with prunemap\.load"):
        Engine.load(path)


def test_without_onnx_runtime_loading_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("prunemap.runtime.segments.import_module", refuse)
    with pytest.raises(UserError, match=r"not installed .* install it with: pip install onnxruntime"):
        load(path)


@pytest.mark.parametrize("part", sorted(MEMBERS))
def test_a_damaged_part_is_refused(path: Path, part: str) -> None:
    with zipfile.ZipFile(path) as archive:
        data = archive.read(part)
    content = path.read_bytes()
    at = content.index(data) + len(data) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    with pytest.raises(UserError, match="artifact"):
        load(path)


@pytest.mark.parametrize("name", ["3/program.so", "../1/model.onnx", "1/../model.onnx", "program.so", "01/model.onnx"])
def test_parts_that_the_manifest_does_not_name_are_refused(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(UserError, match=r"not a \.pmap file: it holds|parts are not those that the manifest names"):
        read_program(path)


def test_a_segment_of_an_unknown_engine_is_refused(pipeline: Pipeline) -> None:
    raw = json.loads(pipeline.manifest.to_json())
    assert Manifest.from_json(json.dumps(raw)) == pipeline.manifest
    raw["segments"][1]["engine"] = "other"
    with pytest.raises(UserError, match="a segment runs in 'other'"):
        Manifest.from_json(json.dumps(raw))


def test_a_segment_that_onnx_runtime_refuses() -> None:
    with pytest.raises(UserError, match=r"fallback: ONNX Runtime .* refuses a segment: "):
        open_session(b"no model")
