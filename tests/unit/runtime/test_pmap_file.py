"""``.pmap`` files made to harm, or by hand: zip tricks, manifests that say something else, files written at once."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunemap.compiler import compile_model, compile_with_fallback
from prunemap.compiler.build import build_library, find_compiler
from prunemap.core.artifact import Manifest, TensorInfo
from prunemap.core.cache import cache_folder
from prunemap.errors import InternalError, UserError
from prunemap.runtime import Engine, Pipeline, Program, read_program, start
from prunemap.targets import resolve_target
from tests.networks import OnnxBuilder, save

Raw = dict[str, Any]
CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    b = OnnxBuilder()
    y = b.node("Relu", b.conv("x", (4, 3, 3, 3), name="conv"))
    return save(b.model([1, 3, 6, 6], y, 4), tmp_path_factory.mktemp("m") / "m.onnx")


@pytest.fixture(scope="module")
def program(model: Path) -> Program:
    return compile_model(model, tune=None)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    b = OnnxBuilder()
    y = b.node("Einsum", b.conv("x", (4, 3, 3, 3), name="first"), equation="nchw->ncwh", name="odd")
    path = save(b.model([1, 3, 6, 6], b.node("Relu", y), 4), tmp_path_factory.mktemp("m") / "m.onnx")
    made = compile_with_fallback(path, tune=None)
    assert isinstance(made, Pipeline)
    return made


@pytest.fixture
def path(program: Program, tmp_path: Path) -> Path:
    program.save(tmp_path / "m.pmap")
    return tmp_path / "m.pmap"


def set_field(path: Path, header: bytes, field: int, value: int, size: str = "<H", number: int = -1) -> None:
    """Change a number in a header of a member, the last one by default."""
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 4] == header]
    struct.pack_into(size, data, starts[number] + field, value)
    path.write_bytes(bytes(data))


def rename(path: Path, name: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(b"weights.bin", name))


def repeat(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("weights.bin", archive.read("weights.bin"))


def overlap(path: Path) -> None:
    """The directory says that the weights begin at the header of the library."""
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("program.so").header_offset
    set_field(path, CENTRAL, 42, at, "<I")


def overlap_inside(path: Path) -> None:
    """A member inside of the bytes of another, with a header of its own there."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist() if name != "weights.bin"]
    inner = struct.pack("<4sHHHHHIIIHH", LOCAL, 20, 0, 0, 0, 33, 0, 0, 0, 11, 0) + b"weights.bin"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data + (inner if name == "program.so" else b""))
        library = archive.getinfo("program.so")
        info = zipfile.ZipInfo("weights.bin")
        info.header_offset = library.header_offset + 30 + len("program.so") + library.file_size - len(inner)
        info.CRC = info.file_size = info.compress_size = 0
        archive.filelist.append(info)
        archive.NameToInfo["weights.bin"] = info
        archive.start_dir = archive.fp.tell()


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)


TRICKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "absolute name": (lambda path: rename(path, b"/etc/passwd"), "is not a .pmap file: it holds /etc/passwd"),
    "name that climbs": (lambda path: rename(path, b"../weights."), r"it holds ../weights"),
    "name of a folder that is none": (lambda path: rename(path, b"00/model.on"), "it holds 00/model.on"),
    "part twice": (repeat, "holds a part twice"),
    "compressed": (compressed, "is compressed, encrypted or larger than"),
    "encrypted": (lambda path: set_field(path, CENTRAL, 8, 1), "is compressed, encrypted or larger than"),
    "too large": (lambda path: set_field(path, CENTRAL, 24, 2**32 - 2, "<I", number=0), "manifest.json is compressed"),
    "of a newer zip": (lambda path: set_field(path, CENTRAL, 6, 90), "not a .pmap file, or it is damaged"),
    "header of another part": (overlap, "not a .pmap file, or it is damaged"),
    "part inside of a part": (overlap_inside, "lies in the bytes of another part"),
    "sizes that differ": (lambda path: set_field(path, CENTRAL, 20, 64, "<I"), "lies in the bytes|damaged"),
    "beyond the end": (lambda path: set_field(path, CENTRAL, 42, 2**31, "<I"), "not a .pmap file, or it is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "not a .pmap file, or it is damaged"),
}


@pytest.mark.parametrize("name", TRICKS)
def test_zip_tricks_are_refused(name: str, path: Path) -> None:
    change, message = TRICKS[name]
    change(path)
    with pytest.raises(UserError) as error:
        read_program(path)
    assert "artifact: " in str(error.value) and any(part in str(error.value) for part in message.split("|"))


MANIFESTS: dict[str, tuple[Callable[[Raw], object], str]] = {
    "no target": (lambda raw: raw.pop("target"), "its manifest is damaged"),
    "target that is no text": (lambda raw: raw.update(target=["x"]), "its manifest is damaged (ValueError: target is"),
    "unknown target": (lambda raw: raw.update(target="vax"), "'vax'"),
    "arena that is no number": (lambda raw: raw.update(arena_bytes="1"), "arena_bytes is '1'"),
    "detect that is a number": (lambda raw: raw.update(detect=1), "detect is '1'"),
    "layer of another kind": (lambda raw: raw["layers"][0].update(density="x"), "density is 'x'"),
    "part of another kind": (lambda raw: raw["parts"][0].update(size=1.5), "size is '1.5'"),
    "shape of texts": (lambda raw: raw["inputs"][0].update(shape=["3"]), "the shape of 'x' is ['3']"),
    "shape below -1": (lambda raw: raw["inputs"][0].update(shape=[1, -3]), "the shape of 'x' is [1, -3]"),
    "unknown type": (lambda raw: raw["inputs"][0].update(dtype="float8"), "tensor 'x' is float8"),
    "other parts": (lambda raw: raw["parts"].pop(), "the manifest does not vouch for every part"),
    "other hash": (lambda raw: raw["parts"][0].update(sha256="0" * 64), "is not what the manifest says"),
    "larger input": (lambda raw: raw["inputs"][0].update(shape=[2, 3, 6, 6]), "are not those of its library"),
    "smaller output": (lambda raw: raw["outputs"][0].update(shape=[1, 1, 1, 1]), "are not those of its library"),
    "endless input": (lambda raw: raw["inputs"][0].update(shape=[2**62]), "are not those of its library"),
    "no output": (lambda raw: raw.update(outputs=[]), "are not those of its library"),
    "fewer slots": (lambda raw: raw["slots"].pop(), "are not those of its library"),
    "segment of another engine": (lambda raw: raw.update(segments=[{"engine": "gpu"}]), "a segment runs in 'gpu'"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_that_say_something_else(name: str, path: Path) -> None:
    change, message = MANIFESTS[name]
    rewrite(path, {}, change)
    with pytest.raises(UserError) as error:
        Engine.load(path)
    assert message in str(error.value)


def rewrite(path: Path, contents: dict[str, bytes], change: Callable[[Raw], object] = lambda raw: None) -> None:
    """Write a file with other contents and another manifest."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | contents
    raw = json.loads(members["manifest.json"])
    change(raw)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, "manifest.json": json.dumps(raw).encode()}.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("weights", [b"", bytes(64)])
def test_weights_of_another_size(program: Program, weights: bytes, tmp_path: Path) -> None:
    replace(program, weights=weights, weights_at=0, weights_size=len(weights)).save(tmp_path / "m.pmap")
    with pytest.raises(UserError, match="are not those of its library"):
        Engine.load(tmp_path / "m.pmap")


def test_a_library_of_another_abi_and_one_that_is_none(program: Program) -> None:
    with pytest.raises(InternalError, match="library does not load"):
        Engine(replace(program, library=b"not a library"))
    other = library_of_abi(2**20)
    with pytest.raises(UserError, match=r"it speaks ABI 1048576, this prunemap speaks \d+; compile it again"):
        Engine(replace(program, library=other))


def library_of_abi(abi: int) -> bytes:
    """Return a library that says that it speaks another ABI."""
    source = f'__attribute__((visibility("default"))) int pmap_abi(void) {{ return {abi}; }}\n'
    return build_library(source, resolve_target("native"), find_compiler())


SEGMENTS: dict[str, tuple[Callable[[Pipeline], Pipeline], str]] = {
    "reads what nobody makes": (lambda made: with_segment(made, 1, inputs=(TensorInfo("y", (1,)),)), "do not fit"),
    "makes what nobody promised": (lambda made: with_segment(made, 0, outputs=()), "segments do not fit each other"),
    "outputs of nobody": (lambda made: with_manifest(made, outputs=(TensorInfo("y", (1,)),)), "do not fit each other"),
    "fewer slots": (lambda made: with_manifest(made, slots=()), "segments do not fit each other"),
    "other inputs": (
        lambda made: with_manifest(made, inputs=(TensorInfo("x", (9,)),)),
        "segments do not fit each other",
    ),
    "parts are missing": (lambda made: replace(made, segments=made.segments[:1]), "its parts are not those"),
}


def with_segment(made: Pipeline, number: int, **changes: Any) -> Pipeline:
    segments = list(made.manifest.segments)
    segments[number] = replace(segments[number], **changes)
    return with_manifest(made, segments=tuple(segments))


def with_manifest(made: Pipeline, **changes: Any) -> Pipeline:
    return replace(made, manifest=replace(made.manifest, **changes))


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_that_do_not_fit(name: str, pipeline: Pipeline, tmp_path: Path) -> None:
    change, message = SEGMENTS[name]
    change(pipeline).save(tmp_path / "m.pmap")
    with pytest.raises(UserError, match=message):
        read_program(tmp_path / "m.pmap")


def test_a_segment_that_reads_more_and_one_that_fails(pipeline: Pipeline) -> None:
    other = next(k for k, part in enumerate(pipeline.segments) if isinstance(part, bytes))
    with pytest.raises(UserError, match="a segment for ONNX Runtime reads more than"):
        start(with_segment(pipeline, other, inputs=()))
    info = pipeline.manifest.segments[other]
    odd = with_segment(pipeline, other, outputs=(replace(info.outputs[0], name="nowhere"),))
    with start(odd) as engine, pytest.raises(UserError, match="ONNX Runtime fails on a segment"):
        engine.run(np.zeros((1, 3, 6, 6), np.float32))


def test_the_cache_is_private_and_what_was_changed_in_it_is_not_run(program: Program) -> None:
    with program.library_file() as file:
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for damaged in (program.library + b"\0", program.library[:999], b""):
        file.unlink()  # it may be loaded: what is loaded must not be written to
        file.write_bytes(damaged)
        with program.library_file() as again:
            assert again == file and file.read_bytes() == program.library


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("cause", ["no folder can be made", "no home"])
def test_a_program_runs_where_no_cache_can_be(
    cause: str, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(Path, "home", _no_home if cause == "no home" else lambda: tmp_path / "file")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("prunemap.runtime.engine._LOADED", {})
    with Engine.load(path) as engine:
        assert np.isfinite(engine.run(np.ones((1, 3, 6, 6), np.float32))[0]).all()
    assert list((tmp_path / "temporary").iterdir()) == []
    with pytest.raises(UserError, match="cache: "):
        cache_folder("lib")


def test_a_library_that_was_cut_in_the_cache_is_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    made = library_of_abi(7)
    (kept,) = (tmp_path / ".cache" / "prunemap" / "build").iterdir()
    whole = kept.read_bytes()
    for size in (0, 40, len(whole) - 1):
        kept.write_bytes(whole[:size])
        assert library_of_abi(7) == made and kept.read_bytes() == whole


def test_a_cache_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "file")
    with pytest.raises(UserError, match="cache: cannot make"):
        cache_folder("lib")


def _compile_and_run(model: Path, home: Path, target: Path, times: int) -> None:
    os.environ["HOME"] = str(home)
    for _ in range(times):
        compile_model(model, tune=None).save(target)
        with Engine.load(target) as engine:
            assert np.isfinite(engine.run(np.ones((1, 3, 6, 6), np.float32))[0]).all()


def test_two_processes_do_not_disturb_each_other(model: Path, tmp_path: Path) -> None:
    """Both compile the same model with an empty cache, write the same file, and load it while the other writes it."""
    spawn, target = multiprocessing.get_context("spawn"), tmp_path / "m.pmap"
    workers = [spawn.Process(target=_compile_and_run, args=(model, tmp_path, target, 10)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [file.name for file in tmp_path.iterdir() if file.name != ".cache"] == ["m.pmap"]
    assert isinstance(read_program(target), Program)
    for part in ("build", "lib"):
        assert len(list((tmp_path / ".cache" / "prunemap" / part).iterdir())) == 1  # and nothing half written


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("threads", [1, 2])
def test_loading_and_freeing_leaves_nothing_behind(threads: int, tmp_path: Path) -> None:
    b, path = OnnxBuilder(), tmp_path / "m.pmap"
    model = save(b.model([1, 3, 32, 32], b.conv("x", (4, 3, 3, 3)), 4), tmp_path / "m.onnx")
    compile_model(model, tune=None).save(path)
    x, sizes = np.ones((1, 3, 32, 32), np.float32), []
    for _ in range(5):
        for _ in range(200):
            with Engine.load(path, threads) as engine:
                engine.run(x)
        gc.collect()
        sizes.append(_resident_bytes())
    assert sizes[-1] - sizes[0] < 2 << 20, f"memory grows: {sizes}"


def test_engines_that_nobody_closes_are_freed(path: Path) -> None:
    before = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(20):
        Engine.load(path, threads=2)
    gc.collect()
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_a_manifest_that_nests_for_ever() -> None:
    with pytest.raises(UserError, match="its manifest is damaged"):
        Manifest.from_json("[" * 100_000)
