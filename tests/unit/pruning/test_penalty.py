"""The reweighted penalty: its equation, its gradient, what its groups are."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError
from prunemap.pruning import Pruner, list_layers
from prunemap.pruning.groups import EPS, coefficients, relative_strengths, survival
from prunemap.schemes import SCHEMES
from prunemap.schemes.pattern import pattern_table
from tests.unit.pruning.scheme_cases import Case, cases

MakePlan = Callable[..., Plan]
EXAMPLE = torch.zeros(1, 1, 8, 8)


def reference(weight: np.ndarray, scheme: SchemeSpec) -> float:
    """Σ a_g ‖W_g‖² group by group, in NumPy, as the equation says."""
    view = SCHEMES[scheme.name].view(weight.shape, scheme)
    grouped = view.apply(weight.astype(np.float64)).reshape(-1, *view.members)
    real = view.apply(np.ones(weight.shape)).reshape(-1, *view.members) > 0
    families = [[group[mask] for group, mask in zip(grouped, real, strict=True)]]
    if scheme.name == "block":
        families = [
            [row[m] for group, mask in zip(grouped, real, strict=True) for row, m in zip(group, mask, strict=True)],
            [row[m] for group, mask in zip(grouped, real, strict=True) for row, m in zip(group.T, mask.T, strict=True)],
        ]
    if scheme.name == "pattern":
        kernels, table = weight.reshape(-1, 9).astype(np.float64), pattern_table()
        best = table[((kernels**2) @ table.T).argmax(1)]
        families = [
            [k[b] for k, b in zip(kernels, best, strict=True)] + [k[~b] for k, b in zip(kernels, best, strict=True)]
        ]
    total = 0.0
    for family in families:
        means = [float((group**2).mean()) for group in family if group.size]
        scale = float(np.mean(means))
        total += sum(
            scale / (m + EPS * scale) * m * g.size for m, g in zip(means, [g for g in family if g.size], strict=True)
        )
    return total / len(families)


@settings(max_examples=20)
@given(cases())
def test_the_penalty_is_its_equation(case: Case) -> None:
    pruner = Pruner(case.module, case.plan, case.example, lam=0.5)
    expected = sum(
        reference(w.seen(w.parameter.detach()).numpy(), case.scheme) for w in pruner._selection.weights.values()
    )
    assert float(pruner.penalty().detach()) == pytest.approx(0.5 * expected, rel=1e-4)


@settings(max_examples=20)
@given(cases(), st.integers(0, 99))
def test_its_gradient_is_that_of_finite_differences(case: Case, seed: int) -> None:
    """And 2·λ·a·W, with a frozen."""
    pruner = Pruner(case.module, case.plan, case.example, lam=0.01)
    weight = next(iter(pruner._selection.weights.values())).parameter
    pruner.penalty().backward()
    assert weight.grad is not None
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    step, found = 1e-2, []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * step)
            found.append(float(pruner.penalty().detach().double()))
            weight.add_(direction, alpha=-sign * step)
    slope = (found[0] - found[1]) / (2 * step)
    along = float((weight.grad * direction).sum())
    assert slope == pytest.approx(along, rel=1e-2, abs=1e-4 * float(weight.grad.norm() * direction.norm()) + 1e-6)


@settings(max_examples=20)
@given(cases(), st.sampled_from([1e-3, 30.0]))
def test_strengths_do_not_depend_on_the_scale(case: Case, scale: float) -> None:
    weight = case.module[0].weight.detach()
    for one, other in zip(
        relative_strengths(weight, case.scheme), relative_strengths(weight * scale, case.scheme), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_average_group_is_pushed_as_by_weight_decay_and_an_empty_one_a_thousand_times_harder() -> None:
    weight = torch.ones(4, 3, 3, 3)
    a = coefficients(relative_strengths(weight, SchemeSpec("filter")))
    torch.testing.assert_close(a, torch.full_like(a, 1 / (1 + EPS)))
    weight[0] = 0
    a = coefficients(relative_strengths(weight, SchemeSpec("filter")))
    assert float(a[0].mean()) == pytest.approx(1 / EPS, rel=1e-4)
    assert coefficients(relative_strengths(torch.zeros(4, 3), SchemeSpec("column"))).isfinite().all()


def test_survival_is_the_weakest_group_and_never_outside_of_a_pattern() -> None:
    weight = torch.tensor([[3.0, 1.0], [1.0, 0.1]])
    relative = relative_strengths(weight, SchemeSpec("block", (2, 2)))
    found = survival(weight, SchemeSpec("block", (2, 2)), relative)
    strong, weak = 2 * 5.0 / (5.0 + 0.505), 2 * 0.505 / (5.0 + 0.505)
    torch.testing.assert_close(found, torch.tensor([[strong, weak], [weak, weak]]))
    kernel = torch.arange(9.0).reshape(1, 1, 3, 3)
    scheme = SchemeSpec("pattern")
    kept = survival(kernel, scheme, relative_strengths(kernel, scheme)) >= 0
    assert kept.flatten().nonzero().flatten().tolist() == [4, 5, 7, 8]


def test_a_penalty_that_overshoots_is_refused(net: nn.Module, make_plan: MakePlan) -> None:
    plan = make_plan(list_layers(net, EXAMPLE), "unstructured", 0.5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(
        UserError, match=r"lambda: got 0\.005 with a learning rate of 0\.1, allowed is less than 0\.005"
    ):
        Pruner(net, plan, EXAMPLE, optimizer=optimizer, lam=5e-3)
    with warnings.catch_warnings():
        pruner = Pruner(net, plan, EXAMPLE, optimizer=optimizer, lam=4e-3, steps=4)
    pruner.penalty()
    optimizer.param_groups[0]["lr"] = 0.2
    with pytest.warns(UserWarning, match="lambda: got 0.004"):
        pruner.step()


def test_lambda_follows_from_the_length_of_the_run(net: nn.Module, make_plan: MakePlan) -> None:
    """4λ·T = 4, where the largest learning rate allows it."""
    plan = make_plan(list_layers(net, EXAMPLE), "unstructured", 0.5)

    def strength(lr: float, steps: int, make: Callable[..., torch.optim.Optimizer] = torch.optim.SGD) -> float:
        options = {"momentum": 0.9} if make is torch.optim.SGD else {}
        optimizer = make(net.parameters(), lr=lr, **options)
        return Pruner(net, plan, EXAMPLE, optimizer=optimizer, steps=steps).strength

    assert strength(0.1, 10_000) == pytest.approx(4 / (4 * 0.05 * 10_000 / 0.1))
    assert strength(0.1, 10) == pytest.approx(0.4 * EPS / 0.1)
    assert strength(1e-3, 10_000, torch.optim.Adam) == strength(1e-3, 10, torch.optim.Adam) == 1e-3
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.01)
    assert Pruner(net, plan, EXAMPLE, optimizer=optimizer, steps=10).strength == pytest.approx(0.4 * EPS / 0.1)


def test_weak_groups_vanish_and_strong_ones_stay() -> None:
    """Nothing but the penalty: after some steps the weakest filters are next to nothing."""
    layer = nn.Linear(6, 8, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.01, 2, 8)[:, None].expand(8, 6))
    before = layer.weight.detach().clone()
    module, example = nn.Sequential(layer), torch.zeros(1, 6)
    plan = Case(module, example, SchemeSpec("filter"), 0.5).plan
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    pruner = Pruner(module, plan, example, optimizer=optimizer, lam=1e-3, steps=200)
    for _ in range(200):
        optimizer.zero_grad()
        pruner.penalty().backward()
        optimizer.step()
        pruner.step()
    left = (layer.weight / before).detach()[:, 0]
    assert left[0] < 1e-3
    assert left[-1] > 0.9
    assert (left.diff() > 0).all()
