"""Training: it learns, zeros stay zeros, a resumed run equals one that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from prunemap.core.plan import Plan
from prunemap.datasets import Dataset
from prunemap.errors import InternalError, UserError
from prunemap.pruning import History, Pruner, TrainConfig, evaluate, list_layers, prune, train
from prunemap.pruning.training.objective import objective
from prunemap.pruning.training.train import _Run
from prunemap.pruning.training.train_config import learning_rate

CONFIG = TrainConfig(epochs=3, batch_size=24, lr=0.1, warmup_epochs=0.5, label_smoothing=0.1, precision="float32")
MakeNet = Callable[[], nn.Module]
MakePlan = Callable[..., Plan]


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_it_learns(net: nn.Module, data: Dataset) -> None:
    history = train(net, data, CONFIG.model_copy(update={"epochs": 8}))
    assert evaluate(net, data.test) > 0.9
    assert net.get_buffer("bn.running_mean").any(), "batch norm must learn its statistics"
    assert history.epochs[-1].held_out_accuracy == evaluate(net, data.held_out)
    assert [record.epoch for record in history.epochs] == list(range(1, 9))
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert History.model_validate_json(history.model_dump_json()) == history


def test_evaluation_counts_right_answers_and_changes_nothing(net: nn.Module, data: Dataset) -> None:
    before = weights(net.train())
    expected = sum(
        int((net.eval()(torch.from_numpy(images)).argmax(1).numpy() == labels).sum())
        for images, labels in data.test.batches(60)
    )
    net.train()
    assert evaluate(net, data.test, batch_size=7) == expected / 60
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_same_seed_same_weights(make_net: MakeNet, data: Dataset) -> None:
    nets = [make_net() for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        torch.rand(1)  # the global random state must not matter
        train(net, data, CONFIG.model_copy(update={"epochs": 1, "seed": seed}))
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_the_global_random_state_is_left_alone(net: nn.Module, data: Dataset) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(net, data, CONFIG.model_copy(update={"epochs": 1}))
    assert torch.equal(torch.rand(1), expected)


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the user press Ctrl-C in the middle of that epoch (counted from 1)."""
    step, calls = _Run.train_step, []

    def counted(self: _Run, *args: object) -> float:
        calls.append(1)
        if len(calls) == (number - 1) * self.steps + 3:
            raise KeyboardInterrupt
        return step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(_Run, "train_step", counted)


@pytest.mark.parametrize("masked", [False, True])
def test_resumed_run_equals_one_that_was_never_stopped(
    make_net: MakeNet, make_plan: MakePlan, data: Dataset, tmp_path: Path, masked: bool
) -> None:
    def start() -> tuple[nn.Module, dict[str, torch.Tensor]]:
        net = make_net()
        plan = make_plan(list_layers(net, torch.zeros(1, 1, 8, 8)), "unstructured", 0.5)
        return net, dict(prune(net, plan, torch.zeros(1, 1, 8, 8))) if masked else {}

    straight, masks = start()
    expected = train(straight, data, CONFIG, masks=masks)
    file = tmp_path / "run.safetensors"
    stopped, masks = start()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_in_epoch(patch, 3)
        train(stopped, data, CONFIG, masks=masks, checkpoint=file)
    resumed, masks = start()
    history = train(resumed, data, CONFIG, masks=masks, checkpoint=file, resume=True)
    assert history == expected
    assert same(resumed, straight)


def test_a_finished_run_is_not_trained_again(
    make_net: MakeNet, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_net(), make_net()
    expected = train(first, data, CONFIG, checkpoint=tmp_path / "run")
    monkeypatch.setattr(_Run, "train_step", None)
    assert train(second, data, CONFIG, checkpoint=tmp_path / "run", resume=True) == expected
    assert same(first, second)


@pytest.mark.parametrize(
    ("epoch", "said"),
    [
        (1, ["training interrupted; no epoch was finished"]),
        (2, ["epoch 1/3  held-out accuracy", "run keeps the last whole epoch"]),
    ],
)
def test_interruption_says_what_is_kept(
    net: nn.Module,
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    epoch: int,
    said: list[str],
) -> None:
    stop_in_epoch(monkeypatch, epoch)
    with pytest.raises(KeyboardInterrupt):
        train(net, data, CONFIG, checkpoint=tmp_path / "run")
    output = capsys.readouterr()
    for text in said:
        assert text in output.err
    assert output.out == ""


def test_without_resume_an_old_run_is_overwritten(make_net: MakeNet, data: Dataset, tmp_path: Path) -> None:
    one_epoch = CONFIG.model_copy(update={"epochs": 1})
    train(make_net(), data, CONFIG, checkpoint=tmp_path / "run")
    train(make_net(), data, one_epoch, checkpoint=tmp_path / "run")
    assert len(train(make_net(), data, one_epoch, checkpoint=tmp_path / "run", resume=True).epochs) == 1


def test_a_checkpoint_of_another_run_is_refused(make_net: MakeNet, data: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "run"
    train(make_net(), data, CONFIG, checkpoint=file)
    content = file.read_bytes()
    other = make_net()
    with torch.no_grad():
        other.get_parameter("fc.weight").zero_()
    changed = CONFIG.model_copy(update={"lr": 0.2, "seed": 4})
    with pytest.raises(UserError) as caught:
        train(other, data, changed, checkpoint=file, resume=True)
    message = str(caught.value)
    assert f"{file} belongs to another run" in message
    assert "lr: 0.1 in the file, 0.2 asked for" in message
    assert "seed: 0 in the file, 4 asked for" in message
    assert "started from other weights or masks" in message
    fewer = replace(data, test=replace(data.test, indices=data.test.indices[1:]))
    with pytest.raises(UserError, match=r"data set: stripes [0-9a-f]{8} in the file, stripes [0-9a-f]{8} asked for"):
        train(make_net(), fewer, CONFIG, checkpoint=file, resume=True)
    assert file.read_bytes() == content


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-10], lambda raw: b"", lambda raw: b"\0" * 64])
def test_a_corrupted_checkpoint_is_named(
    make_net: MakeNet, data: Dataset, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "run"
    train(make_net(), data, CONFIG.model_copy(update={"epochs": 1}), checkpoint=file)
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(UserError, match=r"checkpoint: .*run is corrupted"):
        train(make_net(), data, CONFIG, checkpoint=file, resume=True)


def test_zeros_and_their_momentum_stay_zero(net: nn.Module, make_plan: MakePlan, data: Dataset) -> None:
    masks = prune(
        net, make_plan(list_layers(net, torch.zeros(1, 1, 8, 8)), "punched:4x2", 0.4), torch.zeros(1, 1, 8, 8)
    )
    seen = []
    step = torch.optim.SGD.step

    def remember(self: torch.optim.SGD, *args: object) -> None:
        seen.append(self)
        step(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", remember)
        train(net, data, CONFIG, masks=masks)
    for name, mask in masks.items():
        weight = net.get_parameter(f"{name}.weight")
        momentum = seen[-1].state[weight]["momentum_buffer"]
        assert not weight[~mask].any()
        assert not momentum[~mask].any()
        assert weight[mask].all()


def test_a_zero_that_comes_back_stops_the_run(
    net: nn.Module, make_plan: MakePlan, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = prune(net, make_plan(list_layers(net, torch.zeros(1, 1, 8, 8)), "filter", 0.5), torch.zeros(1, 1, 8, 8))
    monkeypatch.setattr(_Run, "mask", lambda self: None)
    with pytest.raises(InternalError, match="are not zero any more"):
        train(net, data, CONFIG, masks=masks)


def test_a_loss_that_is_not_finite_keeps_the_last_good_epoch(
    make_net: MakeNet, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run"
    expected = train(make_net(), data, CONFIG.model_copy(update={"epochs": 3}))
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"the loss became .* in epoch 2 with lr 0\.1"):
        net = make_net()
        step, calls = _Run.train_step, []

        def poisoned(self: _Run, *args: object) -> float:
            calls.append(1)
            return float("nan") if len(calls) == self.steps + 1 else step(self, *args)  # type: ignore[arg-type]

        patch.setattr(_Run, "train_step", poisoned)
        train(net, data, CONFIG, checkpoint=file)
    assert train(make_net(), data, CONFIG, checkpoint=file, resume=True) == expected


def test_weights_that_are_not_finite_are_not_saved(
    net: nn.Module, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of an epoch can spoil the weights without a loss that shows it."""
    step = _Run.train_step

    def spoiling(self: _Run, *args: object) -> float:
        loss = step(self, *args)  # type: ignore[arg-type]
        with torch.no_grad():
            self.module.get_parameter("fc.bias").fill_(float("inf"))
        return min(loss, 1.0)

    monkeypatch.setattr(_Run, "train_step", spoiling)
    one_step = CONFIG.model_copy(update={"batch_size": 216})
    with pytest.raises(UserError, match="a weight became infinite or NaN in epoch 1"):
        train(net, data, one_step, checkpoint=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_huge_learning_rate_is_a_readable_error(net: nn.Module, data: Dataset) -> None:
    with pytest.raises(UserError, match="try a smaller learning rate"):
        train(net, data, CONFIG.model_copy(update={"lr": 1e30}))


def test_module_and_data_must_fit(data: Dataset) -> None:
    with pytest.raises(UserError, match=r"cannot take images of \[1, 8, 8\]"):
        train(nn.Sequential(nn.Conv2d(3, 4, 3)), data, CONFIG)
    with pytest.raises(UserError, match="stripes has 3 classes, the model 2 outputs"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), data, CONFIG)


def test_bfloat16_trains_too(net: nn.Module, data: Dataset) -> None:
    history = train(net, data, CONFIG.model_copy(update={"epochs": 2, "precision": "bfloat16"}))
    assert history.epochs[1].loss < history.epochs[0].loss
    assert all(value.dtype == torch.float32 for value in net.parameters())
    assert net.get_parameter("conv2.weight").is_contiguous()


def test_learning_rate_rises_then_falls_to_zero() -> None:
    config = TrainConfig(epochs=10, warmup_epochs=2, lr=0.4)
    rates = [learning_rate(config, step, 100) for step in range(1000)]
    assert rates.index(max(rates)) in (199, 200)
    assert max(rates) == pytest.approx(0.4, rel=0.01)
    assert rates[100] == pytest.approx(0.2, rel=0.01)
    assert rates[600] == pytest.approx(0.2, rel=0.01)
    assert 0 < rates[-1] < 1e-4
    assert rates[:200] == sorted(rates[:200])
    assert rates[200:] == sorted(rates[200:], reverse=True)


def test_config_refuses_a_warmup_that_never_ends() -> None:
    with pytest.raises(ValueError, match="warmup_epochs: got 2, allowed is less than epochs"):
        TrainConfig(epochs=2, warmup_epochs=2)


def pruner_of(net: nn.Module, make_plan: MakePlan, method: str, **settings: float) -> Pruner:
    example = torch.zeros(1, 1, 8, 8)
    plan = make_plan(list_layers(net, example), "punched:4x2", 0.4, dense=("conv1", "fc"))
    return Pruner(net, plan, example, method=method, steps=27, **settings)


@pytest.mark.parametrize("method", ["reweighted", "gradual", "admm"])
def test_a_pruner_works_while_training_and_resumes(
    make_net: MakeNet, make_plan: MakePlan, data: Dataset, tmp_path: Path, method: str
) -> None:
    file = tmp_path / "run.safetensors"
    straight = make_net()
    pruner = pruner_of(straight, make_plan, method)
    expected = train(straight, data, CONFIG, pruner=pruner)
    rates = pruner.finalize()
    stopped = make_net()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_in_epoch(patch, 3)
        train(stopped, data, CONFIG, pruner=pruner_of(stopped, make_plan, method), checkpoint=file)
    resumed = make_net()
    again = pruner_of(resumed, make_plan, method)
    assert train(resumed, data, CONFIG, pruner=again, checkpoint=file, resume=True) == expected
    assert again.finalize() == rates
    assert same(straight, resumed)
    other = make_net()
    with pytest.raises(UserError, match="updates: None saved, 3 asked for"):
        train(other, data, CONFIG, pruner=pruner_of(other, make_plan, method, updates=3), checkpoint=file, resume=True)
    with pytest.raises(UserError, match="one of the two only retrains"):
        train(make_net(), data, CONFIG, checkpoint=file, resume=True)


def test_the_penalty_weakens_what_will_be_pruned(make_net: MakeNet, make_plan: MakePlan, data: Dataset) -> None:
    shares, config = [], CONFIG.model_copy(update={"epochs": 12})
    for penalised in (False, True):
        net = make_net()
        pruner = pruner_of(net, make_plan, "reweighted", lam=4e-3)
        train(net, data, config, pruner=pruner if penalised else None)
        weight = net.get_parameter("conv2.weight").detach().clone()
        pruner.finalize()
        shares.append(float(weight[~pruner.masks["conv2"]].norm() / weight.norm()))
    assert shares[1] < 0.9 * shares[0]


def test_a_penalty_too_strong_for_the_learning_rate(net: nn.Module, make_plan: MakePlan, data: Dataset) -> None:
    with pytest.raises(UserError, match=r"lambda: got 0\.005 with a learning rate of 0\.1"):
        train(net, data, CONFIG, pruner=pruner_of(net, make_plan, "reweighted", lam=5e-3))


def test_distillation_follows_the_teacher(make_net: MakeNet, data: Dataset) -> None:
    """A teacher that always says class 1 is believed, and is left as it was."""
    teacher = make_net().train()
    with torch.no_grad():
        teacher.get_parameter("fc.weight").zero_()
        teacher.get_parameter("fc.bias").copy_(torch.tensor([0.0, 30.0, 0.0]))
    before = weights(teacher)
    config = CONFIG.model_copy(update={"distillation": 0.95})
    net = make_net()
    train(net, data, config, teacher=teacher)
    images = torch.from_numpy(data.sample_images(30))
    assert (net.eval()(images).argmax(1) == 1).all()
    assert teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    with pytest.raises(UserError, match=r"teacher: got none with distillation 0\.95"):
        train(make_net(), data, config)


def test_the_objective_is_its_equation() -> None:
    outputs, wanted = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, 2.0]])
    config = CONFIG.model_copy(update={"distillation": 0.25, "temperature": 2.0, "label_smoothing": 0.0})
    p, q = torch.softmax(wanted / 2, 1), torch.softmax(outputs / 2, 1)
    expected = 0.75 * -torch.log_softmax(outputs, 1)[0, 0] + 0.25 * 4 * (p * (p / q).log()).sum()
    torch.testing.assert_close(objective(outputs, torch.tensor([0]), config, wanted), expected)
