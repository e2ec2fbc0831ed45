"""Masks: the same in NumPy and torch, made by plan, applied, checked and counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import InternalError, UserError
from prunemap.pruning import kept, list_layers, prune
from prunemap.pruning.masks import TORCH, apply_masks, check_zeros
from prunemap.schemes import SCHEMES, group_scores, make_mask

EXAMPLE = torch.zeros(1, 1, 8, 8)
MakePlan = Callable[..., Plan]


@st.composite
def viewed_weights(draw: st.DrawFn) -> tuple[SchemeSpec, np.ndarray]:
    scheme = SCHEMES[draw(st.sampled_from(list(SCHEMES)))]
    kernel = {"pattern": (3, 3), "block": ()}.get(scheme.name, draw(st.sampled_from([(), (1, 1), (3, 3), (2, 5)])))
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 9)), *kernel)
    block = (draw(st.integers(1, 5)), draw(st.integers(1, 5))) if scheme.blocked else None
    weight = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
    return SchemeSpec(scheme.name, block), weight


@given(viewed_weights())
def test_torch_and_numpy_see_the_same_groups(case: tuple[SchemeSpec, np.ndarray]) -> None:
    spec, weight = case
    view = SCHEMES[spec.name].view(weight.shape, spec)
    grouped = view.apply(weight)
    tensor = torch.from_numpy(weight)
    assert np.array_equal(view.apply(tensor, TORCH).numpy(), grouped)
    assert np.array_equal(view.restore(torch.from_numpy(np.ascontiguousarray(grouped)), weight.shape, TORCH), weight)
    alive = np.random.default_rng(0).random(view.groups) < 0.5
    assert np.array_equal(
        view.restore(torch.from_numpy(alive), weight.shape, TORCH).numpy(), view.restore(alive, weight.shape)
    )


@given(viewed_weights())
def test_torch_and_numpy_score_the_same(case: tuple[SchemeSpec, np.ndarray]) -> None:
    spec, weight = case
    view = SCHEMES[spec.name].view(weight.shape, spec)
    ones = np.ones(weight.shape)
    scores = group_scores(view.apply(torch.from_numpy(weight), TORCH), view.apply(torch.from_numpy(ones), TORCH))
    assert np.allclose(scores.numpy(), group_scores(view.apply(weight), view.apply(ones)))


def test_gradients_flow_through_a_view() -> None:
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    spec = SchemeSpec("punched", (4, 2))
    view = SCHEMES["punched"].view(weight.shape, spec)
    (view.apply(weight, TORCH) ** 2).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, 2 * weight)


def test_masks_follow_the_plan(net: nn.Module, make_plan: MakePlan) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    plan = make_plan(list_layers(net, EXAMPLE), "unstructured", 0.25, dense=("conv1", "fc"))
    masks = prune(net, plan, EXAMPLE)
    assert set(masks) == {"depthwise", "conv2"}
    expected = make_mask(before["conv2.weight"].numpy(), SchemeSpec("unstructured"), 0.25)
    assert np.array_equal(masks["conv2"].numpy(), expected)
    after = net.state_dict()
    assert torch.equal(after["conv2.weight"], before["conv2.weight"] * masks["conv2"])
    assert torch.equal(after["conv1.weight"], before["conv1.weight"])
    assert torch.equal(after["conv2.bias"], before["conv2.bias"])


@pytest.mark.parametrize("scheme", ["unstructured", "filter", "column", "pattern", "punched:8x4"])
def test_a_layer_never_loses_every_weight(net: nn.Module, make_plan: MakePlan, scheme: str) -> None:
    with pytest.warns(UserWarning, match="one group is kept of: conv1, depthwise, conv2"):
        masks = prune(net, make_plan(list_layers(net, EXAMPLE), scheme, 1e-6, dense=("fc",)), EXAMPLE)
    assert all(mask.any() for mask in masks.values())
    assert masks.keys() & {"conv1", "depthwise", "conv2", "fc"} == {"conv1", "depthwise", "conv2"}


def test_schemes_that_do_not_fit_are_all_listed(net: nn.Module, make_plan: MakePlan) -> None:
    plan = make_plan(list_layers(net, EXAMPLE), "block:4x4", 0.5)
    with pytest.raises(UserError) as caught:
        prune(net, plan, EXAMPLE)
    message = str(caught.value)
    assert "plan: it cannot be applied" in message
    assert "'conv1' [8, 1, 3, 3]: block is for linear" in message
    assert "'conv2'" in message
    assert "'fc'" not in message
    assert net.get_parameter("conv2.weight").all()


def test_a_plan_of_another_network_is_refused(net: nn.Module, make_plan: MakePlan) -> None:
    other = nn.Sequential(nn.Conv2d(1, 4, 5))
    with pytest.raises(UserError, match="it does not fit this model"):
        prune(net, make_plan(list_layers(other, EXAMPLE), "filter", 0.5), EXAMPLE)


def test_a_pruned_weight_that_comes_back_is_found(net: nn.Module, make_plan: MakePlan) -> None:
    masks = prune(net, make_plan(list_layers(net, EXAMPLE), "filter", 0.5), EXAMPLE)
    check_zeros(net, masks)
    with torch.no_grad():
        net.get_parameter("conv2.weight")[~masks["conv2"]] = 1e-9
    with pytest.raises(InternalError, match="'conv2' are not zero"):
        check_zeros(net, masks)
    apply_masks(net, masks)
    check_zeros(net, masks)


def test_kept_shares_are_weighed_by_size(net: nn.Module) -> None:
    layers = {layer.module: layer for layer in list_layers(net, EXAMPLE)}
    mask = torch.zeros(16, 8, 3, 3, dtype=torch.bool)
    mask[:4] = True
    found = kept({"conv2": mask}, [layers["conv1"], layers["conv2"]])
    # conv1: 72 weights at 64 places; conv2: 1152 weights at 16 places, a quarter kept
    assert found.weights == pytest.approx((72 + 288) / (72 + 1152))
    assert found.macs == pytest.approx((72 * 64 + 288 * 16) / (72 * 64 + 1152 * 16))


def test_what_an_optimizer_remembers_is_held_where_it_is(net: nn.Module, make_plan: MakePlan) -> None:
    """After a training on another device the module is back here, its momentum is not."""
    masks = prune(net, make_plan(list_layers(net, EXAMPLE), "filter", 0.5), EXAMPLE)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9)
    weight = net.get_parameter("conv2.weight")
    optimizer.state[weight]["momentum_buffer"] = torch.ones_like(weight, device="meta")
    moved: list[torch.device] = []
    with pytest.MonkeyPatch.context() as patch:
        fill = torch.Tensor.masked_fill_
        patch.setattr(
            torch.Tensor, "masked_fill_", lambda t, mask, value: moved.append(mask.device) or fill(t, mask, value)
        )
        apply_masks(net, masks, optimizer)
    assert torch.device("meta") in moved
