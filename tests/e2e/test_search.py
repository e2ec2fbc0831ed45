"""map --method search from the command line: files, resuming, and what is said of bad input."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from prunemap.benchmarking.local_runner import LocalRunner
from prunemap.cli import app
from prunemap.compiler import read_layers
from prunemap.core.lock import locked
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import write_json
from prunemap.datasets import Dataset, load_dataset
from prunemap.devices import Device
from prunemap.mapping import Budget, map_model
from prunemap.on_device import DeviceRunner
from prunemap.pruning import (
    TrainConfig,
    build_described,
    describe_model,
    export_onnx,
    fast_evaluate,
    save_checkpoint,
    train,
)
from tests.command_line import run_line
from tests.made_up_table import made_up_table

SCHEMES = [SchemeSpec("unstructured"), SchemeSpec("filter")]
SEARCH = (
    "map dense.onnx --latency l.json --method search --checkpoint dense.safetensors --latency-ms {ms} --evaluations 3 "
    "--steps 3 --images 50 --threads 1 -o found/plan.json"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learnt a little, its ONNX file and its latency table."""
    folder = tmp_path_factory.mktemp("search")
    data = load_dataset("fashion-mnist-subset")
    info = describe_model("resnet8", {"width": 0.25}, data)
    module = build_described(info)
    save_checkpoint(folder / "untrained.safetensors", module, info)
    learn(module, data)
    save_checkpoint(folder / "dense.safetensors", module, info)
    export_onnx(module, torch.zeros(1, *data.input_shape), folder / "dense.onnx")
    write_json(
        folder / "l.json",
        made_up_table((layer.spec.setting for layer in read_layers(folder / "dense.onnx")), schemes=SCHEMES),
    )
    return folder


def learn(module: nn.Module, data: Dataset) -> None:
    """Train until it is better than chance, on few images."""
    few, fewer = (
        replace(split, indices=split.indices[::step]) for split, step in ((data.train, 6), (data.held_out, 10))
    )
    train(module, replace(data, train=few, held_out=fewer), TrainConfig(epochs=2, batch_size=50))


@pytest.fixture(autouse=True)
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture
def search(folder: Path) -> str:
    """The command, with a budget that a plan of 30 % of the MACs meets."""
    found = map_model(folder / "dense.onnx", folder / "l.json", Budget(density=0.3))
    return SEARCH.format(ms=f"{found.latency_us / 1e3:.5f}")


def fails(command: str) -> str:
    said = run_line(command, code=2)
    assert "Traceback" not in said
    return " ".join(said.split())


def test_a_search_its_files_and_its_resumption(search: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, plain = [], fast_evaluate.FastEvaluator.__call__

    def interrupted(self: fast_evaluate.FastEvaluator, *args: object, second_look: bool) -> object:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(args[0])
        return plain(self, *args, second_look=second_look)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(fast_evaluate.FastEvaluator, "__call__", interrupted)
        stopped = CliRunner().invoke(app, search.split())
    assert stopped.exit_code == 130 and "what was finished is kept" in stopped.output
    assert not (folder / "found" / "plan.json").exists()
    assert "go on with it by --resume" in fails(search)
    with locked("found/search.jsonl"):
        assert "search.jsonl is being written by another process" in fails(f"{search} --resume")
    record = json.loads(run_line(f"{search} --resume --json"))
    assert record == json.loads((folder / "found" / "search.json").read_text())
    assert len(record["evaluations"]) == 3
    looks = len(record["second_looks"])
    assert 2 <= looks <= 3
    assert len((folder / "found" / "search.jsonl").read_text().splitlines()) == 4 + looks
    events = (folder / "found" / "search" / "events.out.tfevents.search").read_bytes()
    assert events.count(b"search/reward") == 3, "second looks are no points of the curve"
    text = run_line(f"{search} --resume")
    assert (
        "best so far" in text and "finalists" in text and "front of accuracy and latency" in text and "chosen" in text
    )
    plan = json.loads((folder / "found" / "plan.json").read_text())
    assert plan["layers"][0]["name"] == "conv1"
    run_line(
        "prune dense.safetensors --plan found/plan.json --data fashion-mnist-subset --epochs 0 -o pruned.safetensors"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--checkpoint dense.safetensors", ""), "--checkpoint: got none; a search needs the trained weights"),
        (("--checkpoint dense.", "--checkpoint untrained."), "it has no trained weights"),
        (("--checkpoint dense.", "--checkpoint none."), "no such file"),
        (("--evaluations 3", "--evaluations 0 --penalty -1"), "--evaluations: got 0"),
        (("--steps 3", "--steps -5"), "--steps: got"),
        (("--images 50", "--images 0 --penalty inf --lr inf"), "--penalty: got inf: Input should be a finite number"),
        (("--images 50", "--images 0 --penalty inf --lr inf"), "--images: got 0"),
        (("--images 50", "--images 0 --penalty inf --lr inf"), "--lr: got inf: Input should be a finite number"),
        (("--threads 1", "--finalists -1"), "--finalists: got -1"),
        (("--threads 1", "--searcher grid"), "--searcher: got 'grid', allowed are reinforce, random, tpe, nsga2"),
        (("--threads 1", "--workers 0"), "--workers: got 0"),
        (("--threads 1", "--measure local --measure local"), "--measure: got local twice; a device has one job at a"),
        (("--threads 1", "--measure usb"), "--measure: got 'usb', allowed are local"),
        (("--threads 1", "--measure ssh:nobody@127.0.0.1:1"), "device ssh:nobody@127.0.0.1:1:"),
        (("--method search", "--method guess"), "--method"),
    ],
)
def test_bad_options_are_said(search: str, change: tuple[str, str], said: str, folder: Path) -> None:
    assert said in fails(search.replace(*change).replace("found/", "bad/"))
    assert not (folder / "bad" / "plan.json").exists()


def test_candidates_are_measured_on_devices(search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def latency_us(self: LocalRunner | DeviceRunner, plan: Plan) -> float:
        compilers.append(self.cc)
        return 3 + len([entry for entry in plan.layers if entry.scheme != DENSE])

    def board(device: Device, threads: int, target: str) -> SimpleNamespace:
        asked.append((device.name, threads, target))
        return SimpleNamespace(device=device, facts=SimpleNamespace(emulated=False))

    asked, compilers = list[tuple[str, int, str]](), list[str | None]()
    monkeypatch.setattr("prunemap.on_device.choose_place", board)
    for runner in (LocalRunner, DeviceRunner):
        monkeypatch.setattr(runner, "latency_us", latency_us)
    measured = search.replace("found/", "measured/").replace("--evaluations 3", "--evaluations 1")
    run_line(f"{measured.replace('measured/', 'board/')} --measure ssh:pi@board --cc gcc")
    assert compilers == ["gcc"]
    assert asked == [("ssh:pi@board", 1, "native")], "as the table was measured"
    record = json.loads(run_line(f"{measured} --measure local --json"))
    assert record["measured"] and record["evaluations"][0]["latency_us"] > 3
    assert "is of another search" in fails(search.replace("found/", "measured/") + " --resume")
    said = fails(f"{measured} --measure ssh:pi@board --resume")
    assert "is of another search" in said and "ssh:pi@board, target native, threads 1" in said
    monkeypatch.setattr(LocalRunner, "latency_us", lambda self, plan: 1e6)
    over = CliRunner().invoke(app, f"{measured.replace('measured/', 'over/')} --measure local".split())
    assert over.exit_code == 1 and "this plan is over it" in over.output and Path("over/plan.json").exists()


def test_a_full_disk_is_said(search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    command = search.replace("found/", "full/").replace("--evaluations 3", "--evaluations 1")
    with monkeypatch.context() as patched:
        patched.setattr("prunemap.plan_search.append_scalars", full)
        said = fails(command)
    assert "No space left on device; what was finished is kept" in said and "events.out.tfevents" in said
    run_line(f"{command} --resume")


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (extra ray)")
def test_a_cluster_that_nobody_answers_for_is_said(search: str) -> None:
    assert "--ray: 127.0.0.1:1 cannot be reached" in fails(f"{search} --ray 127.0.0.1:1".replace("found/", "bad/"))


def test_the_checkpoint_of_another_network_is_said(search: str, folder: Path) -> None:
    data = load_dataset("fashion-mnist-subset")
    info = describe_model("resnet8", {"width": 0.5}, data)
    module = build_described(info)
    learn(module, data)
    save_checkpoint(folder / "wider.safetensors", module, info)
    said = fails(search.replace("dense.safetensors", "wider.safetensors").replace("found/", "bad/"))
    assert "its network is not that of the ONNX file" in said and "weight shape" in said


def test_an_impossible_budget_and_a_budget_of_another_kind_are_said() -> None:
    assert "the least possible with this table is" in fails(SEARCH.format(ms="0.0001").replace("found/", "bad/"))
    assert "a search has a budget of latency" in fails(SEARCH.replace("--latency-ms {ms}", "--density 0.5"))


def test_a_table_without_the_layers_is_said(search: str, folder: Path) -> None:
    table = json.loads((folder / "l.json").read_text())
    table["points"] = [point for point in table["points"] if point["setting"]["kind"] == "linear"]
    (folder / "few.json").write_text(json.dumps(table))
    assert "it lacks layers of this model" in fails(search.replace("l.json", "few.json").replace("found/", "bad/"))


def test_the_journal_of_another_model_is_refused(search: str, folder: Path) -> None:
    run_line(search.replace("found/", "other/").replace("--evaluations 3", "--evaluations 1"))
    before = (folder / "other" / "search.jsonl").read_bytes()
    changed = search.replace("found/", "other/") + " --resume --seed 5"
    said = fails(changed)
    assert "is of another search" in said and "seed: 0, here 5" in said
    assert (folder / "other" / "search.jsonl").read_bytes() == before
