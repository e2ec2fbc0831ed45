"""Plans measured on this machine: pruned, compiled, timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.benchmarking import local_runner
from prunemap.benchmarking.local_runner import LocalRunner
from prunemap.compiler import read_specs, tune
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.mapping.search import RunnerPool
from tests.networks import residual_network, save


def test_a_plan_is_pruned_compiled_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save(residual_network(scheme="dense"), tmp_path / "net.onnx")
    specs, pruned = read_specs(model), []
    plain = local_runner.write_pruned

    def noting(*args: object) -> object:
        pruned.append(args[1])
        return plain(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(local_runner, "write_pruned", noting)
    monkeypatch.setattr(local_runner, "MEASURED_SECONDS", 0.01)
    monkeypatch.setattr(tune, "choose_tiles", lambda found, *_: {node: tiles[0] for node, tiles in found.items()})
    dense = Plan(layers=tuple(PlanLayer.of(spec, DENSE, 1.0) for spec in specs))
    sparse = Plan(layers=(PlanLayer.of(specs[1], SchemeSpec("unstructured"), 0.1),))
    with RunnerPool([LocalRunner(Path(model))]) as pool:
        found = [measured.result() for measured in [pool.begin(dense), pool.begin(sparse)]]
    assert pruned == [dense, sparse]
    assert all(0 < latency_us < 1e6 for latency_us in found)


def test_a_plan_of_another_network_is_refused(tmp_path: Path) -> None:
    model = save(residual_network(scheme="dense"), tmp_path / "net.onnx")
    other = PlanLayer(name="other", kind="conv", weight_shape=(1, 1, 1, 1), scheme=DENSE, density=1.0)
    with pytest.raises(UserError, match="does not fit this model"):
        LocalRunner(Path(model)).latency_us(Plan(layers=(other,)))
