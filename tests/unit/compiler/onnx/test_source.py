"""What a program is made of: the ONNX file and the weights beside it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from prunemap.benchmarking.benchmark import find_source
from prunemap.compiler import Tuning, compile_model
from prunemap.compiler.onnx.source import model_sha256
from prunemap.core.files import sha256_of
from prunemap.errors import UserError
from tests.networks import residual_network, save


def change_weights(data: Path) -> None:
    content = bytearray(data.read_bytes())
    content[3] ^= 1  # of the exponent of a float
    data.write_bytes(bytes(content))


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A network whose weights lie in a second file, m.data."""
    path = tmp_path / "m.onnx"
    onnx.save(residual_network(), str(path), save_as_external_data=True, location="m.data", size_threshold=0)
    return path


def test_a_file_with_its_weights_inside_has_its_own_hash(tmp_path: Path) -> None:
    path = save(residual_network(), tmp_path / "m.onnx")
    assert model_sha256(path) == sha256_of(path)
    path.write_bytes(b"no network")
    assert model_sha256(path) == sha256_of(path)


def test_other_weights_beside_the_same_file(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    def choose(self: Tuning, key: tuple[object, ...], *rest: object) -> dict[str, object]:
        keys.append(key)
        return {}

    monkeypatch.setattr(Tuning, "choose", choose)
    monkeypatch.setattr("prunemap.compiler.compile.build_graph", lambda *args, source, **options: source)
    first = compile_model(split)
    change_weights(split.parent / "m.data")
    second = compile_model(split)
    assert first.path == second.path == str(split) and first.sha256 != second.sha256
    assert keys[0] != keys[1]


def test_a_program_of_other_weights_is_not_compared_with_the_file(split: Path) -> None:
    program = compile_model(split, tune=None)
    assert find_source(program, Path("m.pmap")) == split
    change_weights(split.parent / "m.data")
    with pytest.raises(UserError, match="has changed since"):
        find_source(program, Path("m.pmap"))
