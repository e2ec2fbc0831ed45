"""Fast evaluation: a plan's accuracy after little training, from the same dense weights every time."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning import TrainConfig, list_layers, train
from prunemap.pruning.fast_evaluate import FastConfig, FastEvaluator, make_fast_evaluator, rungs_to
from prunemap.pruning.training.evaluate import evaluate
from tests.unit.pruning.conftest import SmallNet

CONFIG = FastConfig(rungs=(0, 4, 12), batch_size=24, images=1000, lr=0.02)
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def evaluator(data: Dataset) -> FastEvaluator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = SmallNet()
    train(net, data, TrainConfig(epochs=5, batch_size=24, lr=0.1, warmup_epochs=0.5))
    return make_fast_evaluator(net, data, CONFIG)


@pytest.fixture
def layers(evaluator: FastEvaluator) -> list[LayerSpec]:
    return list_layers(evaluator.module, torch.zeros(1, 1, 8, 8))


def test_the_same_plan_gives_the_same_and_the_dense_module_stays(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan
) -> None:
    before = {name: value.clone() for name, value in evaluator.module.state_dict().items()}
    plan = make_plan(layers, "unstructured", 0.3, dense=("conv1",))
    first, again = evaluator(plan), evaluator(plan)
    assert first.rungs == again.rungs and first.complete
    assert [rung.steps for rung in first.rungs] == [0, 4, 12]
    assert all(torch.equal(before[name], value) for name, value in evaluator.module.state_dict().items())
    assert evaluator.dense_accuracy() == evaluate(evaluator.module, evaluator.held_out)


def test_a_second_look_is_at_other_images_and_trained_on_other_batches(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan
) -> None:
    plan = make_plan(layers, "unstructured", 0.3, dense=("conv1",))
    few = make_fast_evaluator(evaluator.module, evaluator.dataset, CONFIG.model_copy(update={"images": 12}))
    assert len(few.held_out) == len(few.others) == few.other_images == 12
    assert not set(few.held_out.indices) & set(few.others.indices)
    assert set(few.others.indices) <= set(evaluator.dataset.held_out.indices)
    same_batches = replace(few, held_out=few.others)
    looked = few(plan, second_look=True)
    assert looked.rungs == few(plan, second_look=True).rungs
    assert looked.rungs[0] == same_batches(plan).rungs[0], "before training only the images differ"
    looks = [replace(evaluator, others=evaluator.held_out)(plan, second_look=second) for second in (False, True)]
    assert looks[0].rungs[0] == looks[1].rungs[0]
    assert looks[0].rungs[1:] != looks[1].rungs[1:]


def test_a_second_look_drops_others_out(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = []

    def dropping(module: nn.Module, split: object) -> float:
        dropped.append(nn.functional.dropout(torch.ones(64)).tolist())
        return 0.5

    monkeypatch.setattr("prunemap.pruning.fast_evaluate.evaluate", dropping)
    untrained = replace(evaluator, config=CONFIG.model_copy(update={"rungs": (0,)}))
    for second_look in (False, False, True):
        untrained(make_plan(layers, "dense", 1.0), second_look=second_look)
    assert dropped[0] == dropped[1] != dropped[2]


def test_where_there_are_too_few_other_images_some_are_looked_at_twice(evaluator: FastEvaluator) -> None:
    held_out = evaluator.dataset.held_out
    assert set(evaluator.others.indices) == set(held_out.indices), "all were taken"
    assert evaluator.other_images == 0
    most = len(held_out) - 5
    found = make_fast_evaluator(evaluator.module, evaluator.dataset, CONFIG.model_copy(update={"images": most}))
    rest = set(held_out.indices) - set(found.held_out.indices)
    assert len(rest) == found.other_images == 5 and rest < set(found.others.indices)
    assert len(found.others) == len(set(found.others.indices)) == most


def test_training_recovers_what_pruning_took_and_less_density_is_worse(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan
) -> None:
    longer = replace(evaluator, config=CONFIG.model_copy(update={"rungs": (0, 60)}))
    tenth, little = (longer(make_plan(layers, "unstructured", d, dense=("conv1",))) for d in (0.1, 0.02))
    assert tenth.rungs[-1].accuracy > tenth.rungs[0].accuracy + 0.1
    assert tenth.rungs[-1].accuracy > little.rungs[-1].accuracy + 0.1


def test_it_ends_at_the_rung_where_it_is_hopeless(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan
) -> None:
    plan = make_plan(layers, "filter", 0.5, dense=("conv1", "fc", "depthwise"))
    full = evaluator(plan, (0.0, 0.0))
    assert full.complete
    stopped = evaluator(plan, (0.0, full.rungs[1].accuracy + 1e-6))
    assert stopped.rungs == full.rungs[:2] and not stopped.complete and not stopped.diverged
    assert evaluator(plan, (full.rungs[0].accuracy, 2.0)).rungs == full.rungs[:2], "at the floor it goes on"
    assert len(evaluator(plan, (2.0,)).rungs) == 1


def test_pruned_weights_stay_zero_while_it_trains(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = []

    def counting(module: nn.Module, split: object) -> float:
        zeros.append(int((module.conv2.weight == 0).sum()))  # type: ignore[union-attr, operator]
        return 0.5

    monkeypatch.setattr("prunemap.pruning.fast_evaluate.evaluate", counting)
    evaluator(make_plan(layers, "unstructured", 0.25, dense=("conv1", "fc", "depthwise")))
    assert zeros == [864, 864, 864]


def test_what_diverges_is_not_complete(evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan) -> None:
    wild = replace(evaluator, config=CONFIG.model_copy(update={"lr": 1e30}))
    found = wild(make_plan(layers, "unstructured", 0.3, dense=("conv1",)))
    assert not found.complete and found.diverged and [rung.steps for rung in found.rungs] == [0]


def test_it_can_be_sent_to_another_process(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan
) -> None:
    plan = make_plan(layers, "filter", 0.5, dense=("conv1", "fc", "depthwise"))
    sent: FastEvaluator = pickle.loads(pickle.dumps(evaluator))
    assert sent(plan).rungs == evaluator(plan).rungs


def test_an_untrained_network_is_refused(net: nn.Module, data: Dataset) -> None:
    with pytest.raises(UserError, match="it has no trained weights"):
        make_fast_evaluator(net, data, CONFIG)


def test_the_plan_of_another_network_is_refused(
    evaluator: FastEvaluator, layers: list[LayerSpec], make_plan: MakePlan
) -> None:
    plan = make_plan(layers, "dense", 1.0)
    evaluator.check_plan(plan)
    with pytest.raises(UserError, match="its network is not that of the ONNX file"):
        evaluator.check_plan(plan.model_copy(update={"layers": plan.layers[:-1]}))
    other = plan.layers[0].model_copy(update={"weight_shape": (4, 1, 3, 3)})
    with pytest.raises(UserError, match=r"its network is not that of the ONNX file:\n  - layer 'conv1'"):
        evaluator.check_plan(plan.model_copy(update={"layers": (other, *plan.layers[1:])}))


def test_rungs_rise() -> None:
    assert rungs_to(90) == (0, 30, 90)
    assert rungs_to(2) == (0, 2)
    assert rungs_to(0) == (0,)
    for rungs in ((), (-1,), (0, 0), (5,), (0, 5, 2)):
        with pytest.raises(ValueError, match="allowed are 0 and then rising numbers of steps"):
            FastConfig(rungs=rungs)
