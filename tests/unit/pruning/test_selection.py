"""What is pruned: whole groups, to the density asked for, by the plan or by one threshold; shared filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunemap.compiler import read_specs
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import write_json
from prunemap.errors import UserError
from prunemap.models import build_model
from prunemap.pruning import Pruner, export_onnx, list_layers
from prunemap.pruning.selection import Selection, select
from prunemap.pruning.threshold import Budget, Threshold
from prunemap.schemes import SCHEMES
from prunemap.schemes.pattern import pattern_table
from tests.made_up_table import made_up_table
from tests.unit.pruning.scheme_cases import Case, cases

MakePlan = Callable[..., Plan]
EXAMPLE = torch.zeros(1, 1, 8, 8)


def selection_of(case: Case, density: float | None = None) -> Selection:
    layers = list_layers(case.module, case.example)
    choices = {layer.module: entry for layer, entry in zip(layers, case.plan.layers, strict=True)}
    chosen = select(case.module, case.example, choices)
    macs = {layer.module: layer.macs for layer in layers}
    if density is None:
        return chosen
    total = sum(macs.values())
    budget = Budget("density", density, lambda found: sum(found[name] * macs[name] for name in macs) / total)
    return replace(chosen, budget=budget)


def step_of(case: Case, selection: Selection, name: str) -> int:
    """The most weights that a layer can gain or lose at once."""
    shape = selection.choices[name].weight_shape
    if case.scheme.name == "pattern":
        return 4 * shape[0]
    if case.scheme.name == "block":
        rows, cols = case.scheme.block or (1, 1)
        return max(min(rows, shape[0]), min(cols, shape[1]))
    view = SCHEMES[case.scheme.name].view(shape, case.scheme)
    return int(view.apply(np.ones(shape)).sum((-2, -1)).max())


def is_legal(case: Case, seen: np.ndarray) -> bool:
    """Whether what is pruned is a union of whole groups of the scheme."""
    if case.scheme.name == "pattern":
        allowed = {tuple(row) for row in np.vstack([pattern_table(), np.zeros((1, 9), bool)])}
        kernels = seen.reshape(*seen.shape[:2], 9)
        return {tuple(k) for row in kernels for k in row} <= allowed and len(set(kernels.any(-1).sum(1))) == 1
    view = SCHEMES[case.scheme.name].view(seen.shape, case.scheme)
    grouped = view.apply(seen.astype(int))
    real = view.apply(np.ones(seen.shape, int))
    if case.scheme.name == "block":
        outer = grouped.any(-1, keepdims=True) * grouped.any(-2, keepdims=True) * real
        return np.array_equal(outer, grouped)
    return np.isin(grouped.sum((-2, -1)) - real.sum((-2, -1)) * (grouped.sum((-2, -1)) > 0), 0).all()


@settings(max_examples=20)
@given(cases(), st.booleans())
@pytest.mark.filterwarnings("ignore:at such a density")
def test_masks_are_unions_of_whole_groups(case: Case, by_threshold: bool) -> None:
    selection = selection_of(case, case.density if by_threshold else None)
    for name, mask in selection.masks(selection.values()).items():
        assert mask.shape == selection.weights[name].parameter.shape
        assert mask.any()
        assert is_legal(case, selection.weights[name].seen(mask).numpy())


@settings(max_examples=20)
@given(cases())
@pytest.mark.filterwarnings("ignore:at such a density")
def test_one_threshold_meets_the_density_to_one_group(case: Case) -> None:
    """If the strongest group that is pruned were kept, and those as strong, the budget would be exceeded."""
    selection = selection_of(case, case.density)
    budget, threshold = selection.budget, selection.threshold(selection.values())
    assert budget is not None
    tau = threshold.find(budget)
    masks = selection.masks(selection.values())
    kept = {name: float(mask.double().mean()) for name, mask in masks.items()}
    assert kept == pytest.approx(threshold.densities(tau), rel=1e-5)
    assert budget.met(kept) or tau == pytest.approx(threshold.highest)
    pruned = [
        value for name, values in threshold._sorted.items() for value in values if value < threshold.of_layer(name, tau)
    ]
    assert not pruned or not budget.met(threshold.densities(max(pruned)))


@settings(max_examples=20)
@given(cases([name for name in SCHEMES if name not in ("dense", "block")]))
@pytest.mark.filterwarnings("ignore:at such a density")
def test_pruning_again_changes_nothing(case: Case) -> None:
    selection = selection_of(case)
    masks = selection.masks(selection.values())
    pruned = {name: value * masks[name] for name, value in selection.values().items()}
    again = selection.masks(pruned)
    for name, value in pruned.items():
        assert torch.equal(value * again[name], value)


@settings(max_examples=20)
@given(cases(), st.floats(0, 1))
@pytest.mark.filterwarnings("ignore:at such a density")
def test_what_is_left_for_later_is_kept(case: Case, left: float) -> None:
    """By one threshold no more is kept than ``left`` allows; by the plan to one step of every layer."""
    whole = SCHEMES[case.scheme.name].max_density
    for selection in (selection_of(case), selection_of(case, case.density)):
        for part in (0.0, left, 1.0):
            masks = selection.masks(selection.values(), part)
            for name, mask in masks.items():
                share = float(mask.float().mean())
                wanted = min(case.density + (1 - case.density) * part, whole)
                step = step_of(case, selection, name) / mask.numel()
                assert selection.budget is not None or share == pytest.approx(wanted, abs=step + 1e-6)
                assert part < 1 or share == pytest.approx(whole, abs=step + 1e-6)


def test_each_layer_gets_its_own_density() -> None:
    """A layer of equal filters keeps them all, one of unequal ones loses the weak."""
    module = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 8, bias=False))
    with torch.no_grad():
        module[0].weight.fill_(100.0)
        module[1].weight.copy_(torch.logspace(-3, 0, 8)[:, None].expand(8, 8))
    case = Case(module, torch.zeros(1, 4), SchemeSpec("filter"), 0.5)
    selection = selection_of(case, 0.6)
    masks = selection.masks(selection.values())
    assert masks["0"].all()
    assert masks["1"].any(1).tolist() == [False] * 5 + [True] * 3
    assert selection.threshold(selection.values()).densities(0.5) == {"0": 1.0, "1": pytest.approx(0.25)}


def test_latency_is_met_and_what_is_impossible_is_refused(net: nn.Module, make_plan: MakePlan) -> None:
    plan = make_plan(list_layers(net, EXAMPLE), "unstructured", 0.5, dense=("conv1", "fc"))
    asked: list[dict[str, float]] = []

    def latency(densities: dict[str, float]) -> float:
        asked.append(dict(densities))
        return 1 + 2 * densities["conv2"] + densities["depthwise"]

    pruner = Pruner(net, plan, EXAMPLE, latency=latency, latency_ms=2.0, method="one_shot")
    assert 1.99 < latency({layer.name: layer.density for layer in pruner.rates().layers}) <= 2.0
    assert asked[0].keys() == {"conv1", "depthwise", "conv2", "fc"}
    assert asked[0]["fc"] == 1.0
    with pytest.raises(UserError, match=r"latency_ms: got 0\.5, the least possible is 1\.01"):
        Pruner(net, plan, EXAMPLE, latency=latency, latency_ms=0.5)
    with pytest.raises(UserError, match="needs a function that predicts it"):
        Pruner(net, plan, EXAMPLE, latency_ms=0.5)
    with pytest.raises(UserError, match=r"density: got 1e-05, the least possible is 0\.0"):
        Pruner(net, plan, EXAMPLE, density=1e-5)


def test_latency_is_predicted_from_a_table(net: nn.Module, make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(list_layers(net, EXAMPLE), "unstructured", 0.5, dense=("conv1", "fc"))
    export_onnx(net, EXAMPLE, tmp_path / "net.onnx")
    specs = read_specs(tmp_path / "net.onnx")
    table = made_up_table([spec.setting for spec in specs])
    write_json(tmp_path / "latency.json", table)
    macs = {spec.module: spec.macs for spec in specs}

    def predicted_ms(densities: dict[str, float]) -> float:
        return sum(1 + macs[name] * densities.get(name, 1.0) / 5e4 for name in macs) / 1e3

    asked = 0.5 * (predicted_ms({}) + predicted_ms({"conv2": 0.0, "depthwise": 0.0}))
    for source in (table, tmp_path / "latency.json", str(tmp_path / "latency.json")):
        pruner = Pruner(net, plan, EXAMPLE, latency=source, latency_ms=asked, method="one_shot")
        rates = pruner.rates()
        assert rates.latency_ms == pytest.approx(predicted_ms({each.name: each.density for each in rates.layers}))
        assert 0.99 * asked < rates.latency_ms <= asked * (1 + 1e-9)
    assert f"predicted latency {rates.latency_ms:.4g} ms" in str(rates)
    with pytest.raises(UserError, match="latency table: no such file"):
        Pruner(net, plan, EXAMPLE, latency=tmp_path / "none.json", latency_ms=asked)
    less = made_up_table([specs[0].setting])
    with pytest.raises(UserError, match="latency table: it lacks layers of this model"):
        Pruner(net, plan, EXAMPLE, latency=less, latency_ms=asked)


def test_layers_that_would_lose_everything_keep_a_group(net: nn.Module, make_plan: MakePlan) -> None:
    plan = make_plan(list_layers(net, EXAMPLE), "filter", 0.5, dense=("fc",))
    with torch.no_grad():
        net.get_parameter("depthwise.weight")[2:] *= 1e-3
    with pytest.warns(UserWarning, match="one group is kept of: .*conv2"):
        masks = Pruner(net, plan, EXAMPLE, density=0.09, method="one_shot").masks
    assert all(mask.any() for mask in masks.values())


@pytest.mark.parametrize("by", ["plan", "density"])
def test_layers_of_a_residual_sum_lose_the_same_filters(by: str, make_plan: MakePlan) -> None:
    """So that the compiler can drop the channels: the sum is constant only where both addends are."""
    module = build_model("resnet8", (1, 16, 16), 10, {"width": 0.5})
    example = torch.zeros(1, 1, 16, 16)
    layers = list_layers(module, example)
    plan = make_plan(layers, "filter", 0.5, dense=("fc",))
    pruner = Pruner(module, plan, example, method="one_shot", density=0.4 if by == "density" else None)
    kept = {name: mask.flatten(1).any(1) for name, mask in pruner.masks.items() if mask.ndim > 1}
    sums = pruner._selection.shared
    assert sum(len(names) for names in sums) == 6
    for names in sums:
        first, *others = sorted(names)
        assert all(torch.equal(kept[first], kept[other]) for other in others)
    assert not torch.equal(kept["layer1.0.conv1"], kept["layer1.0.conv2"])


def test_reweighted_pushes_the_shared_filters_alike(make_plan: MakePlan) -> None:
    module = build_model("resnet8", (1, 16, 16), 10, {"width": 0.5})
    example = torch.zeros(1, 1, 16, 16)
    pruner = Pruner(module, make_plan(list_layers(module, example), "filter", 0.5, dense=("fc",)), example)
    for names in pruner._selection.shared:
        pushes = [pruner._penalty.state[name].flatten(1)[:, 0] for name in names]  # type: ignore[union-attr]
        assert all(torch.equal(push, pushes[0]) for push in pushes)


def test_threshold_keeps_at_least_one_group_and_rounds_patterns() -> None:
    kernels = torch.tensor([[0.5, 1.5, 2.5], [0.1, 0.2, 9.0]])[:, :, None].expand(2, 3, 9).clone()
    kernels[:, :, 4:] = -1
    threshold = Threshold({"a": torch.tensor([1.0, 2.0, 4.0, 8.0]), "b": kernels}, {"b": 3})
    assert threshold.densities(0.0) == {"a": 1.0, "b": pytest.approx(4 / 9)}
    assert threshold.densities(3.0) == {"a": 0.5, "b": pytest.approx(4 / 27)}
    assert threshold.densities(threshold.highest) == {"a": 0.25, "b": pytest.approx(4 / 27)}
    assert set(threshold.single(8.5)) == {"a"}
    assert set(threshold.single(100.0)) == {"a", "b"}
