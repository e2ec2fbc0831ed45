"""Files are written whole or not at all, and read with errors that name everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.core.files import check_writable, existing_file, replacing, sha256_of, write_text
from prunemap.core.latency_table import LatencyTable
from prunemap.core.plan import Plan
from prunemap.core.value import read_json, write_json
from prunemap.errors import UserError


def test_replacing_puts_the_new_file_in_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_replacing_leaves_nothing_half_written(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UserError if error is OSError else error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_names_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"output: cannot write .*file/x: (Not a directory|File exists)"):
        write_text(tmp_path / "file" / "x", "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"output: cannot write .*folder: Is a directory"):
        write_text(tmp_path / "folder", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_read_json_lists_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"version": 2, "layers": [{"name": "a", "kind": "cone", "density": 0}]}')
    with pytest.raises(UserError) as caught:
        read_json(path, Plan, "plan")
    message = str(caught.value)
    assert f"plan: {path} is not a valid Plan file" in message
    for place in ("version", "layers.0.kind", "layers.0.weight_shape", "layers.0.scheme", "layers.0.density"):
        assert f"- {place}: " in message


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff"])
def test_read_json_of_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="is not a valid LatencyTable file"):
        read_json(path, LatencyTable, "latency table")


def test_json_file_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", Plan(layers=()))
    assert read_json(tmp_path / "plan.json", Plan, "plan") == Plan(layers=())


def test_existing_file_says_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model: no such file: .*none\.onnx"):
        existing_file(tmp_path / "none.onnx", "model")
    with pytest.raises(UserError, match=r"model: .* is not a file"):
        existing_file(tmp_path, "model")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert sha256_of(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_outputs_are_checked_before_long_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "file")
    with pytest.raises(UserError, match="is a folder, a file is to be written"):
        check_writable(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"output: cannot write .*file/x: "):
        check_writable(tmp_path / "file" / "x")
    assert not list((tmp_path / "new").iterdir())


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # whoever runs the tests may read everything
    with pytest.raises(UserError, match=r"model: .*file cannot be read \(permission denied\)"):
        existing_file(tmp_path / "file", "model")
