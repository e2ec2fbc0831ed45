"""Plan: JSON round trip, and how its entries find their layers."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import ModelIdentity, Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError

SHAPE = (8, 4, 3, 3)


def layer(name: str, module: str = "", shape: tuple[int, ...] = SHAPE) -> LayerSpec:
    kind = "linear" if len(shape) == 2 else "conv"
    return LayerSpec(name=name, module=module, kind=kind, weight_shape=shape, macs=1, params=prod(shape))


def entry(name: str, module: str = "", shape: tuple[int, ...] = SHAPE, density: float = 0.5) -> PlanLayer:
    kind = "linear" if len(shape) == 2 else "conv"
    return PlanLayer(
        name=name, module=module, kind=kind, weight_shape=shape, scheme=SchemeSpec("punched", (8, 4)), density=density
    )


plan_layers = st.builds(
    PlanLayer,
    name=st.text(min_size=1),
    module=st.text(),
    kind=st.sampled_from(["conv", "depthwise", "linear"]),
    weight_shape=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    scheme=st.builds(SchemeSpec, st.sampled_from(["dense", "punched"]), st.none() | st.just((8, 4))),
    density=st.floats(0, 1, exclude_min=True),
    reason=st.text(),
)


@given(st.lists(plan_layers, max_size=4), st.text())
def test_json_round_trip(layers: list[PlanLayer], name: str) -> None:
    plan = Plan(model=ModelIdentity(name=name, layers_sha256="ab"), layers=tuple(layers))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_module_comes_before_name() -> None:
    plan = Plan(layers=(entry("b", module="m.a"),))
    assert plan.resolve([layer("a", "m.a"), layer("b", "m.b")]) == [plan.layers[0], None]


def test_name_where_the_module_is_not_known() -> None:
    plan = Plan(layers=(entry("b", module="m.x"), entry("a")))
    assert plan.resolve([layer("a"), layer("b")]) == [plan.layers[1], plan.layers[0]]


def test_order_kind_and_shape_where_no_name_is_known() -> None:
    plan = Plan(layers=(entry("x"), entry("y", shape=(10, 8)), entry("z")))
    found = plan.resolve([layer("a"), layer("b", shape=(10, 8)), layer("c")])
    assert found == [plan.layers[0], plan.layers[1], plan.layers[2]]


def test_a_named_layer_is_not_given_away_by_order() -> None:
    plan = Plan(layers=(entry("x"), entry("a")))
    assert plan.resolve([layer("a"), layer("b")]) == [plan.layers[1], plan.layers[0]]


def test_every_problem_is_listed_with_its_candidates() -> None:
    plan = Plan(
        layers=(
            entry("missing", shape=(5, 5)),
            entry("twin"),
            entry("other shape", module="m.s", shape=(9, 9)),
            entry("once", module="m.o"),
            entry("again", module="m.o"),
            entry("lost"),
        )
    )
    layers = [
        layer("twin"),
        layer("twin"),
        layer("s", "m.s", (8, 8)),
        layer("o", "m.o"),
        layer("free1"),
        layer("free2"),
    ]
    with pytest.raises(UserError) as caught:
        plan.resolve(layers)
    message = str(caught.value)
    assert "plan: it does not fit this model" in message
    assert "'missing' (linear [5, 5]) is not in the model; free layers of that kind and shape: none" in message
    assert "'twin' is ambiguous, candidates: twin, twin" in message
    assert "'other shape' has weight shape [8, 8], plan says [9, 9]" in message
    assert "'again' is named twice" in message
    assert "'lost' (conv [8, 4, 3, 3]) is not in the model; free layers of that kind and shape: twin, twin" in message
