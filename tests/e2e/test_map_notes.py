"""What `map` says of the table before it chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from prunemap.cli import app
from prunemap.compiler import read_specs
from prunemap.core.latency_table import LayerTime, NetworkTimes, SlotTime
from prunemap.core.value import write_json
from tests.made_up_table import made_up_table
from tests.networks import residual_network, save

MISSING = "the latency table does not have this network as a whole"


@pytest.mark.parametrize("whole", [False, True])
def test_latencies_without_what_lies_between_the_layers_are_said_to_be_so(whole: bool, tmp_path: Path) -> None:
    specs = read_specs(save(residual_network(scheme="dense"), tmp_path / "m.onnx"))
    table = made_up_table(spec.setting for spec in specs)
    if whole:
        layers = tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=9) for spec in specs)
        glue = (SlotTime(name="pool", median_us=7),)
        network = NetworkTimes(name="m", layers=layers, glue=glue, anchor_us=100, runs=3)
        table = table.model_copy(update={"networks": (network,)})
    write_json(tmp_path / "l.json", table)
    command = [
        "map",
        tmp_path / "m.onnx",
        "--latency",
        tmp_path / "l.json",
        "--density",
        0.9,
        "-o",
        tmp_path / "p.json",
    ]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert (MISSING in result.output) == (not whole)
    adding = f"adds it: prunemap profile {tmp_path}/m.onnx --threads 1 -o {tmp_path}/l.json"
    assert (adding in result.output.replace("\n", "")) == (not whole)
