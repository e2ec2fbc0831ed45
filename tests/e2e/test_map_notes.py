"""What `map` says of the table before it chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from prunemap.cli import app
from prunemap.compiler import read_specs
from prunemap.core.latency_table import LatencyTable, LayerTime, NetworkTimes, SlotTime
from prunemap.core.scheme_spec import DENSE
from prunemap.core.value import write_json
from tests.made_up_table import made_up_table
from tests.networks import residual_network, save

MISSING = "the latency table does not have this network as a whole"


def mapped(folder: Path, table: LatencyTable, *budget: object) -> str:
    """Return what `map` says of a network and a table."""
    write_json(folder / "l.json", table)
    command = ["map", folder / "m.onnx", "--latency", folder / "l.json", *budget, "-o", folder / "p.json"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    return result.output.replace("\n", "")


def test_a_budget_that_the_dense_network_meets_and_layers_without_schemes_are_said(tmp_path: Path) -> None:
    specs = read_specs(save(residual_network(scheme="dense"), tmp_path / "m.onnx"))
    table = made_up_table(spec.setting for spec in specs)
    plain = mapped(tmp_path, table, "--density", 0.5)
    assert "dense network is within the budget" not in plain and "for want of measurements" not in plain
    assert "the dense network is within the budget: predicted" in mapped(tmp_path, table, "--latency-ms", 100)
    bare = next(spec for spec in specs if spec.name == "block.a")
    points = tuple(p for p in table.points if p.setting != bare.setting or p.scheme == DENSE)
    said = mapped(tmp_path, table.model_copy(update={"points": points}), "--density", 0.97)
    assert "no scheme was measured for block.a, block.b; " in said
    assert f"what adds it: prunemap profile {tmp_path}/m.onnx --threads 1 -o {tmp_path}/l.json" in said


@pytest.mark.parametrize("whole", [False, True])
def test_latencies_without_what_lies_between_the_layers_are_said_to_be_so(whole: bool, tmp_path: Path) -> None:
    specs = read_specs(save(residual_network(scheme="dense"), tmp_path / "m.onnx"))
    table = made_up_table(spec.setting for spec in specs)
    if whole:
        layers = tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=9) for spec in specs)
        glue = (SlotTime(name="pool", median_us=7),)
        network = NetworkTimes(name="m", layers=layers, glue=glue, anchor_us=100, runs=3)
        table = table.model_copy(update={"networks": (network,)})
    said = mapped(tmp_path, table, "--density", 0.9)
    assert (MISSING in said) == (not whole)
    adding = f"adds it: prunemap profile {tmp_path}/m.onnx --threads 1 -o {tmp_path}/l.json"
    assert (adding in said) == (not whole)


def test_with_estimates_it_is_said_what_they_are_good_for_and_what_makes_them_better(tmp_path: Path) -> None:
    specs = read_specs(save(residual_network(scheme="dense"), tmp_path / "m.onnx"))
    others = [
        spec.setting.model_copy(update={"in_channels": wide * spec.setting.in_channels})
        for spec in specs
        if spec.setting is not None
        for wide in (2, 3, 4)
    ]
    said = mapped(tmp_path, made_up_table(others), "--density", 0.9, "--estimate")
    assert f"{tmp_path}/l.json, or in a minute, without its layers, with --networks-only" in said
    assert "not measured, estimated from others to about ±" in said and str(specs[1].setting) in said
