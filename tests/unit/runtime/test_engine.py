"""The engine: inputs checked, engines independent, files that are damaged or made to harm refused."""

from __future__ import annotations

import json
import multiprocessing
import threading
import warnings
import zipfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prunemap.compiler import compile_model
from prunemap.core.artifact import Manifest, TensorInfo
from prunemap.errors import UserError
from prunemap.runtime import Engine, Program, read_program
from prunemap.runtime.engine import checked_inputs, random_inputs
from prunemap.targets import TARGETS, why_not_here
from tests.networks import residual_network, save

SHAPE = (1, 3, 16, 12)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return compile_model(save(residual_network(), tmp_path_factory.mktemp("m") / "m.onnx"), tune=None)


@pytest.fixture
def path(program: Program, tmp_path: Path) -> Path:
    program.save(tmp_path / "m.pmap")
    return tmp_path / "m.pmap"


def inputs(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


def test_a_saved_program_runs_as_the_one_in_memory(program: Program, path: Path) -> None:
    with Engine(program) as made, Engine.load(path) as loaded:
        np.testing.assert_array_equal(made.run(inputs(0))[0], loaded.run({"x": inputs(0)})[0])
        assert loaded.manifest.layers == made.manifest.layers


@pytest.mark.parametrize("at", range(0, 64, 16))
def test_weights_are_aligned_wherever_they_lie(program: Program, at: int) -> None:
    moved = replace(program, weights=bytes(at) + program.weight_blob(), weights_at=at)
    assert moved.aligned_weights.ctypes.data % 64 == 0
    with Engine(program) as engine, Engine(moved) as other:
        np.testing.assert_array_equal(other.run(inputs(0))[0], engine.run(inputs(0))[0])
        assert not other._library.pmap_create(moved.aligned_weights.ctypes.data + 16, 1), "refuses other places"


def test_any_layout_of_the_input_array(program: Program) -> None:
    with Engine(program) as engine:
        turned = np.asfortranarray(inputs(0))
        np.testing.assert_array_equal(engine.run(turned)[0], engine.run(inputs(0))[0])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 3, 16, 13), np.float32), "'x' has shape [1, 3, 16, 13], allowed is [1, 3, 16, 12]"),
        (np.zeros(SHAPE), "'x' is float64, allowed is float32"),
        ({"y": np.zeros(SHAPE, np.float32)}, "'y' is not an input, allowed are x"),
        ({}, "'x' is missing"),
        ({"x": [1.0]}, "'x' is list, allowed is float32"),
        (None, "got NoneType, allowed is an array"),
        ([1.0], "got list, allowed is an array"),
    ],
)
def test_inputs_that_do_not_fit(program: Program, x, message: str) -> None:
    with Engine(program) as engine, pytest.raises(UserError) as error:
        engine.run(x)
    assert message in str(error.value)


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True])
def test_threads_out_of_range(program: Program, threads: int) -> None:
    with pytest.raises(UserError, match=f"threads: got {threads}, allowed is a whole number from 1 to 256"):
        Engine(program, threads)


def test_a_closed_engine_says_so(program: Program) -> None:
    engine = Engine(program)
    engine.close()
    engine.close()
    with pytest.raises(UserError, match="closed"):
        engine.run(inputs(0))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_engine_in_a_fork(program: Program, threads: int) -> None:
    """A fork has none of the threads: with several the engine says so, and does not wait for them."""
    with Engine(program, threads) as engine:
        expected = engine.run(inputs(0))[0]
        fork = multiprocessing.get_context("fork")
        here, there = fork.Pipe()
        process = fork.Process(target=use_in_a_fork, args=(engine, there), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork of a process with threads: it is the test
            process.start()
        assert here.poll(20), "it hangs"
        found = here.recv()
        process.join(20)
        assert process.exitcode == 0
        np.testing.assert_array_equal(engine.run(inputs(0))[0], expected)
    if threads == 1:
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == "engine: its threads are in the process that loaded it; load it again in this process"


def use_in_a_fork(engine: Engine, end: Connection) -> None:
    try:
        end.send(engine.run(inputs(0))[0])
    except UserError as error:
        end.send(str(error))
    engine.close()


def test_engines_in_threads_do_not_mix(program: Program) -> None:
    """Two engines, and one engine shared by two threads, each get their own inputs' answers."""
    shared = Engine(program, threads=2)
    with Engine(program) as single:
        expected = [single.run(inputs(seed))[0] for seed in range(8)]
    wrong: list[int] = []

    def work(engine: Engine, seeds: range) -> None:
        for seed in seeds:
            for _ in range(20):
                if not np.array_equal(engine.run(inputs(seed))[0], expected[seed]):
                    wrong.append(seed)

    engines = [shared, shared, Engine(program), Engine(program, threads=2)]
    threads = [threading.Thread(target=work, args=(e, range(i * 2, i * 2 + 2))) for i, e in enumerate(engines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.close()
    assert not wrong


def test_timing_covers_every_slot(program: Program) -> None:
    with Engine(program) as engine:
        slots = engine.time_slots(inputs(0), 4)
        assert slots.shape == (4, len(engine.slots)) and (slots > 0).all()
        assert {"stem", "block.a", "fc", "input x"} <= set(engine.slots)
        assert engine.time_runs(inputs(0), 3).shape == (3,)
        for runs in (-1, 1.5, True, 2**31):
            for timed in (engine.time_runs, engine.time_slots):
                with pytest.raises(
                    UserError, match=f"runs: got {runs}, allowed is a whole number from 0 to 2147483647"
                ):
                    timed(inputs(0), runs)


@pytest.mark.parametrize("part", ["manifest.json", "program.so", "weights.bin"])
def test_a_damaged_file_is_refused(path: Path, part: str) -> None:
    with zipfile.ZipFile(path) as archive:
        data = archive.read(part)
    content = path.read_bytes()
    at = content.index(data) + len(data) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    with pytest.raises(UserError, match="artifact"):
        Engine.load(path)


def test_a_cut_file_and_another_file_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"not a \.pmap file, or it is damaged"):
        read_program(path)
    path.write_text("hello")
    with pytest.raises(UserError, match=r"not a \.pmap file"):
        read_program(path)


def test_foreign_names_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.so", b"")
    with pytest.raises(UserError, match=r"it holds \.\./evil.so"):
        read_program(path)


def test_another_schema_and_another_machine(program: Program) -> None:
    raw = json.loads(program.manifest.to_json())
    with pytest.raises(UserError, match="schema version 99"):
        Manifest.from_json(json.dumps({**raw, "schema": 99}))
    with pytest.raises(UserError, match="manifest is damaged"):
        Manifest.from_json(json.dumps({**raw, "inputs": 3}))
    foreign = [name for name, target in TARGETS.items() if why_not_here(target)]
    for name in foreign:
        with pytest.raises(UserError, match=f"compiled for {name}"):
            Engine(replace(program, manifest=replace(program.manifest, target=name)))


def test_a_target_that_this_version_does_not_know(program: Program, path: Path) -> None:
    replace(program, manifest=replace(program.manifest, target="x86-64-v9")).save(path)
    with pytest.raises(UserError, match=r"artifact: .*m\.pmap is for target 'x86-64-v9', known are x86-64-v4, "):
        read_program(path)


def test_saving_where_one_cannot(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output: cannot write"):
        program.save(tmp_path / "file" / "m.pmap")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_program_of_another_machine(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.runtime.engine.why_not_here", lambda target: "this CPU lacks everything")
    with pytest.raises(UserError, match=f"it was compiled for {program.manifest.target}: this CPU lacks everything"):
        Engine(program)


def test_no_memory_for_a_program(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(pmap_create=lambda weights, threads: None)
    monkeypatch.setattr("prunemap.runtime.engine._open_library", lambda program: library)
    with pytest.raises(UserError, match=rf"no memory for {program.manifest.arena_bytes} bytes, or no 3 threads"):
        Engine(program, threads=3)


def test_inputs_of_a_network_with_several() -> None:
    infos = TensorInfo("a", (2,)), TensorInfo("places", (2,), "int64")
    with pytest.raises(UserError, match="got one array, the network has 2: a, places"):
        checked_inputs(infos, np.zeros(2, np.float32))
    with pytest.raises(UserError, match="'places' has values that need more than 32 bits"):
        checked_inputs(infos, {"a": np.zeros(2, np.float32), "places": np.array([0, 2**31])})
    assert len(checked_inputs(infos, {"a": np.zeros(2, np.float32), "places": np.array([0, 2**31 - 1])})) == 2


def test_random_inputs_take_no_seed_below_0() -> None:
    with pytest.raises(UserError, match="seed: got -1, allowed is a whole number from 0"):
        random_inputs((), -1)
