from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prunemap.benchmarking import ENGINES, Subject
from prunemap.errors import UserError

THIRD_PARTY = ("onnxruntime", "openvino")


def subject(onnx: Path, infos=()) -> Subject:
    program = SimpleNamespace(manifest=SimpleNamespace(inputs=infos))
    return Subject(onnx=onnx, program=program, threads=1)


def test_ours_and_dense_are_there_beside_the_others() -> None:
    assert set(ENGINES) >= {"prunemap", "dense", *THIRD_PARTY}


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_a_third_party_engine_times_every_run(name: str, onnx_file, make_engine) -> None:
    pytest.importorskip(name)
    inputs = {info.name: np.ones(info.shape, np.float32) for info in make_engine.inputs}
    with ENGINES[name].load(subject(onnx_file, make_engine.inputs)) as engine:
        assert engine.version.startswith(f"{name} ")
        seconds = engine.time_runs(inputs, 7)
    assert seconds.shape == (7,)
    assert (seconds > 0).all() and (seconds < 1).all()


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_a_missing_package_names_the_extra(name: str, onnx_file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"engine {name}: it is not installed .*prunemap\[bench\]"):
        ENGINES[name].load(subject(onnx_file))


@pytest.mark.parametrize("name", THIRD_PARTY)
def test_a_file_that_the_engine_refuses_is_named(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(UserError, match=f"engine {name}: it cannot load .*broken.onnx"):
        ENGINES[name].load(subject(broken))
