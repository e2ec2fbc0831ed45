"""sensitivity: each layer pruned alone, row by row, and never twice."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity
from prunemap.core.value import read_json
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning import TrainConfig, list_layers, prune, sensitivity, train
from prunemap.pruning.sensitivity import DEFAULT_SCHEMES, SensitivityCase, make_cases
from prunemap.pruning.training.evaluate import measure

HOME = importlib.import_module("prunemap.pruning.sensitivity")
FEW = {"schemes": [SchemeSpec("filter"), SchemeSpec("unstructured")], "densities": (0.25, 0.5), "images": 12}


@pytest.fixture
def trained(net: nn.Module, data: Dataset) -> nn.Module:
    train(net, data, TrainConfig(epochs=1, batch_size=24, lr=0.05, warmup_epochs=0.2))
    return net


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_every_row_is_what_pruning_that_layer_alone_gives(trained: nn.Module, data: Dataset, tmp_path: Path) -> None:
    before = state(trained)
    found = sensitivity(trained, data, tmp_path / "s.json", name="net", **{**FEW, "images": 1000})
    assert same(before, state(trained))
    assert found == read_json(tmp_path / "s.json", Sensitivity, "sensitivity")
    assert (found.model.name, found.conditions.dataset, found.conditions.images) == ("net", "stripes", 24)
    assert (found.baseline_accuracy, found.baseline_loss) == measure(trained, data.held_out)
    assert [len(rows) for rows in found.of_layers().values()] == [4, 4, 4, 3], "a third of fc is its least by filter"
    row = next(row for row in found.rows if (row.layer, str(row.scheme), row.density) == ("conv2", "filter", 0.25))
    spec = next(spec for spec in list_layers(trained, torch.zeros(1, 1, 8, 8)) if spec.name == "conv2")
    prune(trained, SensitivityCase(spec, row.scheme, row.density).plan(), torch.zeros(1, 1, 8, 8))
    assert (row.accuracy, row.loss) == measure(trained, data.held_out)
    kept, all_of_it = ((values["conv2.weight"] ** 2).sum().item() for values in (state(trained), before))
    assert row.energy_kept == pytest.approx(kept / all_of_it)


def test_an_interrupted_run_goes_on_and_measures_nothing_twice(
    trained: nn.Module, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked, before = sensitivity(trained, data, tmp_path / "whole.json", **FEW), [], state(trained)
    plain = HOME.prune

    def prune_five_times(module: nn.Module, plan, example, network):  # type: ignore[no-untyped-def]
        asked.append(plan.layers[0])
        masks = plain(module, plan, example, network)
        if len(asked) == 6:
            raise KeyboardInterrupt
        return masks

    monkeypatch.setattr(HOME, "prune", prune_five_times)
    with pytest.raises(KeyboardInterrupt):
        sensitivity(trained, data, tmp_path / "s.json", **FEW)
    assert same(before, state(trained)), "the layer that was pruned when the user interrupted is as it was"
    assert read_json(tmp_path / "s.json", Sensitivity, "s").rows == whole.rows[:5]
    assert sensitivity(trained, data, tmp_path / "s.json", **FEW).rows == whole.rows
    assert len(asked) == len(whole.rows) + 1
    sensitivity(trained, data, tmp_path / "s.json", **{**FEW, "densities": (0.25, 0.5, 0.7)})
    assert [entry.density for entry in asked[len(whole.rows) + 1 :]] == [0.7] * 8


def test_a_file_of_other_weights_or_images_is_refused(trained: nn.Module, data: Dataset, tmp_path: Path) -> None:
    sensitivity(trained, data, tmp_path / "s.json", layers=["fc"], **FEW)
    content = (tmp_path / "s.json").read_bytes()
    with torch.no_grad():
        trained.get_parameter("fc.weight").mul_(2)
    with pytest.raises(UserError, match=r"s\.json was measured otherwise; name another file") as caught:
        sensitivity(trained, data, tmp_path / "s.json", reestimate=True, **{**FEW, "images": 10})
    for problem in ("other weights", "images: 12, here 10", "other images", "batchnorm reestimated: False, here True"):
        assert problem in str(caught.value)
    assert (tmp_path / "s.json").read_bytes() == content


def test_broken_files_are_refused_and_kept(trained: nn.Module, data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"version": 1, "rows": [')
    with pytest.raises(UserError, match=r"s\.json is not a valid Sensitivity file"):
        sensitivity(trained, data, tmp_path / "s.json", **FEW)
    assert (tmp_path / "s.json").read_text() == '{"version": 1, "rows": ['


def test_reestimated_batch_norm_is_undone(trained: nn.Module, data: Dataset, tmp_path: Path) -> None:
    before = state(trained)
    settings = {"layers": ["conv1"], "schemes": [SchemeSpec("unstructured")], "densities": (0.2,)}
    plain = sensitivity(trained, data, tmp_path / "plain.json", **settings)
    again = sensitivity(trained, data, tmp_path / "again.json", reestimate=True, **settings)
    assert same(before, state(trained))
    assert again.conditions.batchnorm_reestimated
    assert again.rows[0].energy_kept == plain.rows[0].energy_kept and again.rows[0].loss != plain.rows[0].loss


def test_what_is_measured_by_default(net: nn.Module) -> None:
    specs = list_layers(net, torch.zeros(1, 1, 8, 8))
    cases = make_cases(specs, ["*"], DEFAULT_SCHEMES, (0.05, 0.3, 0.7))
    schemes = {
        spec.name: list(dict.fromkeys(str(case.scheme) for case in cases if case.layer == spec)) for spec in specs
    }
    assert schemes["conv2"] == ["unstructured", "pattern", "punched:4x1", "filter"]
    assert schemes["fc"] == ["unstructured", "punched:4x1", "block:4x1", "filter"]
    densities = {(case.layer.name, str(case.scheme)): [] for case in cases}
    for case in cases:
        densities[case.layer.name, str(case.scheme)].append(case.density)
    assert densities["conv2", "pattern"] == [0.3, 0.4444], "not below a kernel per filter, not above 4/9"
    assert densities["conv2", "filter"] == [0.3, 0.7]
    assert densities["conv2", "unstructured"] == [0.05, 0.3, 0.7]


@pytest.mark.parametrize(
    ("patterns", "names"), [(["conv*"], {"conv1", "conv2"}), (["conv"], {"conv1", "conv2"}), (["linear"], {"fc"})]
)
def test_layers_are_chosen_by_pattern_or_kind(net: nn.Module, patterns: list[str], names: set[str]) -> None:
    cases = make_cases(list_layers(net, torch.zeros(1, 1, 8, 8)), patterns, DEFAULT_SCHEMES, (0.5,))
    assert {case.layer.name for case in cases} == names


def test_every_wrong_argument_is_listed(net: nn.Module, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        sensitivity(
            net,
            data,
            tmp_path / "s.json",
            layers=["conv*", "stem"],
            schemes=[SchemeSpec("magic"), SchemeSpec("punched")],
            densities=(0.5, 1.5, 0),
        )
    for problem in (
        "layers: got 'stem', allowed are patterns and kinds of: conv1, depthwise, conv2, fc",
        "densities: got 1.5, allowed are values in (0, 1]",
        "densities: got 0, allowed",
        "scheme 'magic' is unknown",
        "scheme 'punched' needs a block size",
    ):
        assert problem in str(caught.value)
    with pytest.raises(UserError, match="no layer can have one of the schemes at one of the densities"):
        sensitivity(net, data, tmp_path / "s.json", layers=["fc"], schemes=[SchemeSpec("pattern")])
    with pytest.raises(UserError, match="images: got 0, allowed is 1 or more"):
        sensitivity(net, data, tmp_path / "s.json", images=0)
    assert not list(tmp_path.iterdir())


def test_outputs_that_are_no_numbers_are_refused(net: nn.Module, data: Dataset, tmp_path: Path) -> None:
    with torch.no_grad():
        net.get_parameter("fc.bias").fill_(np.nan)
    with pytest.raises(UserError, match="with the dense network, outputs are infinite or NaN"):
        sensitivity(net, data, tmp_path / "s.json", **FEW)
    assert not list(tmp_path.iterdir())
