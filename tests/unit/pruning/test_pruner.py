"""Pruner: in the user's own loop, by every method; saved and resumed; compiled, under autocast, accumulated."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import prunemap
from prunemap.core.plan import Plan
from prunemap.errors import InternalError, UserError
from prunemap.pruning import Pruner, list_layers
from prunemap.pruning.masks import check_zeros
from prunemap.pruning.prune_config import METHODS, PruneConfig
from tests.unit.pruning.scheme_cases import Case, cases

MakeNet = Callable[[], nn.Module]
MakePlan = Callable[..., Plan]
EXAMPLE = torch.zeros(1, 1, 8, 8)
STEPS = 12


def batch(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 1, 8, 8, generator=generator), torch.randint(0, 3, (6,), generator=generator)


def loss_of(model: nn.Module, number: int) -> Tensor:
    images, labels = batch(number)
    return nn.functional.cross_entropy(model(images).float(), labels)


def train_on(model: nn.Module, pruner: Pruner, optimizer: torch.optim.Optimizer, steps: range) -> None:
    model.train()
    for number in steps:
        torch.manual_seed(number)  # of dropout
        optimizer.zero_grad()
        (loss_of(model, number) + pruner.penalty()).backward()
        optimizer.step()
        pruner.step()


@pytest.fixture
def plan(net: nn.Module, make_plan: MakePlan) -> Plan:
    return make_plan(list_layers(net, EXAMPLE), "punched:4x2", 0.4, dense=("conv1", "fc"))


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make_optimizer", [sgd, lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3)])
def test_five_lines(
    net: nn.Module,
    plan: Plan,
    method: str,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    tmp_path: Path,
) -> None:
    optimizer = make_optimizer(net)
    pruner = prunemap.Pruner(net, plan, EXAMPLE, optimizer=optimizer, method=method, steps=STEPS)
    train_on(net, pruner, optimizer, range(STEPS))
    rates = pruner.finalize()
    assert [layer.name for layer in rates.layers] == ["depthwise", "conv2"]
    assert rates.density == pytest.approx(0.4, abs=0.02)
    assert "conv2" in str(rates)
    train_on(net, pruner, optimizer, range(STEPS, STEPS + 3))
    check_zeros(net, pruner.masks)
    for name, mask in pruner.masks.items():
        state = optimizer.state[net.get_parameter(f"{name}.weight")]
        shaped = [value for value in state.values() if value.shape == mask.shape]
        assert shaped
        assert not any(value[~mask].any() for value in shaped)
        assert net.get_parameter(f"{name}.weight")[mask].all()
    assert float(pruner.penalty()) == 0
    pruner.export(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    images = batch(0)[0][:1]
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    np.testing.assert_allclose(session.run(None, {"input": images.numpy()})[0], expected, atol=1e-5)


@settings(max_examples=25)
@given(cases(), st.sampled_from(METHODS), st.booleans())
@pytest.mark.filterwarnings("ignore:at such a density")
@pytest.mark.filterwarnings("ignore:Pruner.penalty")
def test_any_scheme_by_any_method(case: Case, method: str, by_threshold: bool) -> None:
    """The budget and zeros right after finalize; a state that is saved and loaded gives the same masks."""
    density = {"density": case.density} if by_threshold else {}
    try:
        pruner = Pruner(case.module, case.plan, case.example, method=method, steps=4, **density)
    except UserError as error:
        assert "the least possible is" in str(error)
        return
    for _ in range(4):
        pruner.step()
    file = io.BytesIO()
    torch.save(pruner.state_dict(), file)
    other = Pruner(case.module, case.plan, case.example, method=method, steps=4, **density)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    weights = {name: value.clone() for name, value in case.module.state_dict().items()}
    found = pruner.finalize()
    case.module.load_state_dict(weights)
    assert found == other.finalize()
    assert all(torch.equal(mask, other.masks[name]) for name, mask in pruner.masks.items())
    check_zeros(case.module, pruner.masks)
    assert all(mask.any() for mask in pruner.masks.values())
    assert not by_threshold or found.density <= case.density * (1 + 1e-6)


def test_gradual_rises_along_a_cubic(net: nn.Module, plan: Plan) -> None:
    pruner = Pruner(net, plan, EXAMPLE, method="gradual", steps=100, updates=10)
    seen = [pruner.rates().density]
    for step in range(1, 101):
        pruner.step()
        if step % 10 == 0:
            seen.append(pruner.rates().density)
    expected = [0.4 + 0.6 * (1 - t / 10) ** 3 for t in range(11)]
    assert seen == pytest.approx(expected, abs=0.02)


def test_coefficients_are_frozen_between_the_milestones(net: nn.Module, plan: Plan) -> None:
    optimizer = sgd(net)
    pruner = Pruner(net, plan, EXAMPLE, optimizer=optimizer, steps=8, updates=2)
    state = pruner._penalty.state["conv2"]  # type: ignore[union-attr]
    changes, before = [], state.clone()
    for step in range(10):
        train_on(net, pruner, optimizer, range(step, step + 1))
        changes.append(not torch.equal(state, before))
        before = state.clone()
    assert changes == [False] * 3 + [True] + [False] * 3 + [True] + [False] * 2


def test_admm_draws_weights_to_the_pruned_ones(net: nn.Module, plan: Plan) -> None:
    """Z is pruned, U = 0 + W − Z at first, so that Z − U is twice the kept part of W less W."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    pruner = Pruner(net, plan, EXAMPLE, optimizer=optimizer, method="admm", lam=1.0, steps=100)
    weight = net.get_parameter("conv2.weight").detach().clone()
    dual, target = (pruner._penalty.state[kind + "conv2"] for kind in ("dual.", "target."))  # type: ignore[union-attr]
    z = target + dual
    assert 0.35 < float((z != 0).float().mean()) < 0.45
    torch.testing.assert_close(dual, weight - z)
    pruner.penalty().backward()
    gradient = net.get_parameter("conv2.weight").grad
    assert gradient is not None
    torch.testing.assert_close(gradient, weight - z + dual)
    for _ in range(100):
        optimizer.zero_grad()
        pruner.penalty().backward()
        optimizer.step()
        pruner.step()
    masked = pruner._selection.masks(pruner._selection.values())["conv2"]
    after = net.get_parameter("conv2.weight").detach()
    assert float(after[~masked].norm() / after.norm()) < 0.2 * float(weight[~masked].norm() / weight.norm())


@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_never_stopped(make_net: MakeNet, plan: Plan, method: str) -> None:
    def start() -> tuple[nn.Module, Pruner, torch.optim.Optimizer]:
        net = make_net()
        optimizer = sgd(net)
        return net, Pruner(net, plan, EXAMPLE, optimizer=optimizer, method=method, steps=STEPS), optimizer

    straight, pruner, optimizer = start()
    train_on(straight, pruner, optimizer, range(STEPS))
    pruner.finalize()
    net, first, optimizer = start()
    train_on(net, first, optimizer, range(7))
    saved = first.state_dict(), {k: v.clone() for k, v in net.state_dict().items()}, optimizer.state_dict()
    net, second, optimizer = start()
    net.load_state_dict(saved[1])
    optimizer.load_state_dict(saved[2])
    second.load_state_dict(saved[0])
    train_on(net, second, optimizer, range(7, STEPS))
    second.finalize()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in straight.state_dict().items())


def test_a_state_of_another_pruner_is_refused(net: nn.Module, plan: Plan, make_plan: MakePlan) -> None:
    state = Pruner(net, plan, EXAMPLE, steps=5).state_dict()
    other = Pruner(net, make_plan(list_layers(net, EXAMPLE), "filter", 0.4, dense=("conv2",)), EXAMPLE, steps=9)
    with pytest.raises(UserError) as caught:
        other.load_state_dict(state)
    assert "steps: 5 saved, 9 asked for" in str(caught.value)
    assert "layer 'conv1': dense saved, filter 0.4 asked for" in str(caught.value)
    assert "penalty of 'fc' are on one side only" in str(caught.value)
    with pytest.raises(UserError, match="'masks' is missing"):
        other.load_state_dict({"progress": ""})


def test_a_state_from_before_pruning_brings_the_weights_back(net: nn.Module, plan: Plan) -> None:
    pruner = Pruner(net, plan, EXAMPLE, steps=5)
    before, weights = pruner.state_dict(), {name: value.clone() for name, value in net.state_dict().items()}
    pruner.finalize()
    net.load_state_dict(weights)
    pruner.load_state_dict(before)
    pruner.hold()
    assert not pruner.finalized and not pruner.masks
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())


def test_only_sgd_tells_lambda(net: nn.Module, plan: Plan) -> None:
    def strength(optimizer: torch.optim.Optimizer) -> float:
        return Pruner(net, plan, EXAMPLE, optimizer=optimizer, steps=100).strength

    adam, other = torch.optim.Adam(net.parameters(), 1e-3), torch.optim.RMSprop(net.parameters(), 1e-3)
    assert strength(adam) == strength(other) == PruneConfig().strength
    assert strength(torch.optim.SGD(net.parameters(), 1e-3, 0.9)) != PruneConfig().strength


def test_accumulated_gradients_equal_one_large_batch(make_net: MakeNet, plan: Plan) -> None:
    grads = []
    for parts in (1, 3):
        net = make_net().eval()
        pruner = Pruner(net, plan, EXAMPLE, lam=0.01)
        images, labels = batch(0)
        for some, wanted in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            ((nn.functional.cross_entropy(net(some), wanted) + pruner.penalty()) / parts).backward()
        grads.append(net.get_parameter("conv2.weight").grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("method", METHODS)
def test_channels_last_and_autocast_train_the_same(make_net: MakeNet, plan: Plan, method: str) -> None:
    found = []
    for changed in (False, True):
        net = make_net().eval()  # no dropout
        if changed:
            net.to(memory_format=torch.channels_last)
        optimizer = sgd(net)
        pruner = Pruner(net, plan, EXAMPLE, optimizer=optimizer, method=method, steps=4)
        for number in range(4):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=changed):
                loss = loss_of(net, number) + pruner.penalty()
            assert loss.dtype == torch.float32
            loss.backward()
            optimizer.step()
            pruner.step()
        pruner.finalize()
        found.append(pruner.masks)
        check_zeros(net, pruner.masks)
    for name, mask in found[0].items():
        assert (mask == found[1][name]).float().mean() > 0.9


def test_compiled_it_prunes_the_same(make_net: MakeNet, plan: Plan) -> None:
    """With the eager backend: what is tested is that tracing sees the wrapped module and the penalty."""
    masks = []
    for compiled in (False, True):
        net = make_net().eval()
        model: nn.Module = torch.compile(net, backend="eager") if compiled else net  # type: ignore[assignment]
        optimizer = sgd(model)
        pruner = Pruner(model, plan, EXAMPLE, optimizer=optimizer, steps=4, lam=1e-3)

        def objective(number: int, model: nn.Module = model, pruner: Pruner = pruner) -> Tensor:
            return loss_of(model, number) + pruner.penalty()

        for number in range(4):
            optimizer.zero_grad()
            objective(number).backward()
            optimizer.step()
            pruner.step()
        pruner.finalize()
        masks.append(pruner.masks)
    assert masks[0].keys() == masks[1].keys() == {"depthwise", "conv2"}
    assert all(torch.equal(mask, masks[1][name]) for name, mask in masks[0].items())


def test_the_penalty_can_be_part_of_what_is_compiled(net: nn.Module, plan: Plan) -> None:
    pruner = Pruner(net, plan, EXAMPLE, lam=0.01)
    compiled = torch.compile(pruner.penalty, backend="eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(), pruner.penalty())
        pruner._penalty.state["conv2"].mul_(2)  # type: ignore[union-attr]


def test_several_inputs_by_name(make_plan: MakePlan, tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 8), nn.Linear(6, 8)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.left(a) * self.right(b)

    net, examples = Two(), {"a": torch.ones(1, 4), "b": torch.ones(1, 6)}
    pruner = Pruner(net, make_plan(list_layers(net, examples), "unstructured", 0.5), examples, method="one_shot")
    pruner.finalize()
    pruner.export(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in examples.items()})[0]
    np.testing.assert_allclose(found, net(**examples).detach().numpy(), atol=1e-5)


def test_sequences_before_batches_are_exported_whole(make_plan: MakePlan, tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(x)[0]

    net, example = Last(), torch.randn(5, 1, 4)
    pruner = Pruner(net, make_plan(list_layers(net, example), "block:4x4", 0.3), example, method="one_shot")
    pruner.finalize()
    pruner.export(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = net(example).numpy()
    np.testing.assert_allclose(session.run(None, {"input": example.numpy()})[0], expected, atol=1e-5)


def test_weights_that_are_not_finite_change_nothing(net: nn.Module, plan: Plan) -> None:
    pruner = Pruner(net, plan, EXAMPLE, steps=4)
    with torch.no_grad():
        net.get_parameter("conv2.weight")[0, 0, 0, 0] = float("nan")
    before = pruner.state_dict()
    pruner.penalty()
    with pytest.raises(UserError, match="weights of conv2 are infinite or NaN: training has diverged"):
        pruner.finalize()
    assert not pruner.finalized
    assert pruner.masks == {}
    with pytest.raises(UserError, match="training has diverged"):
        pruner.step()
    for name, value in before["penalty"].items():
        assert torch.equal(value, pruner.state_dict()["penalty"][name])
    assert net.get_parameter("depthwise.weight").all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "magic"}, r"method: got 'magic': Input should be 'reweighted', 'gradual', 'one_shot' or 'admm'"),
        ({"density": 1.5, "steps": 0}, r"density: got 1\.5(.|\n)*steps: got 0|steps: got 0(.|\n)*density: got 1\.5"),
        ({"density": 0.0}, r"density: got 0\.0"),
        ({"lambda_": 1}, "lambda_: got 1: Extra inputs"),
        ({"density": 0.5, "latency_ms": 3.0}, "got both, allowed is one of them"),
        ({"method": "gradual", "lam": 1.0}, "lambda: got 1, but method gradual has no penalty"),
        ({"method": "one_shot", "updates": 3}, "updates: got 3, but method one_shot has none"),
    ],
)
def test_settings_that_are_not_allowed(net: nn.Module, plan: Plan, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pruner(net, plan, EXAMPLE, **wrong)


def test_plans_that_do_not_fit(net: nn.Module, make_plan: MakePlan) -> None:
    layers = list_layers(net, EXAMPLE)
    with pytest.raises(UserError, match="every layer is dense"):
        Pruner(net, make_plan(layers, "dense", 1.0), EXAMPLE)
    with pytest.raises(UserError, match=r"'conv1' .*block is for linear"):
        Pruner(net, make_plan(layers, "block:4x4", 0.5), EXAMPLE)
    unknown = (
        make_plan(layers, "filter", 0.5)
        .layers[0]
        .model_copy(update={"name": "x", "module": "x", "weight_shape": (7, 7)})
    )
    with pytest.raises(UserError, match=r"layer 'x' \(conv \[7, 7\]\) is not in the model"):
        Pruner(net, Plan(layers=(unknown,)), EXAMPLE)


def test_misuse_is_pointed_out(net: nn.Module, plan: Plan, tmp_path: Path) -> None:
    pruner = Pruner(net, plan, EXAMPLE, steps=4)
    with pytest.raises(UserError, match="call finalize"):
        pruner.export(tmp_path / "m.onnx")
    with pytest.warns(UserWarning, match="penalty\\(\\) was never called"):
        pruner.step()
    pruner.finalize()
    with torch.no_grad():
        net.get_parameter("conv2.weight").fill_(1.0)
    with pytest.raises(InternalError, match="not zero any more"):
        pruner.export(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_warned_of_in_a_usual_run(net: nn.Module, plan: Plan) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = sgd(net)
        pruner = Pruner(net, plan, EXAMPLE, optimizer=optimizer, steps=4)
        train_on(net, pruner, optimizer, range(4))
        pruner.finalize()
