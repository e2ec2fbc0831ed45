"""The latency of a network by a plan: its layers, and what lies between them."""

from __future__ import annotations

import pytest

from prunemap.core.latency_table import LayerTime, NetworkTimes, SlotTime
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.wiring import ChannelSource, Wiring
from prunemap.errors import UserError
from prunemap.latency import PlanLatency
from tests.made_up_table import made_up_table

FILTER, PUNCHED, UNSTRUCTURED = SchemeSpec("filter"), SchemeSpec("punched", (8, 4)), SchemeSpec("unstructured")
GLUE_US = 7.0


def layer(name: str, channels: int) -> LayerSpec:
    setting = LayerSetting(
        kind="conv", in_channels=channels, out_channels=channels, kernel=(3, 3), pads=(1, 1, 1, 1), size=(10, 10)
    )
    shape = (channels, channels, 3, 3)
    params = channels * channels * 9
    return LayerSpec(
        name=name, module=name, kind="conv", weight_shape=shape, macs=setting.macs, params=params, setting=setting
    )


LAYERS = (layer("a", 16), layer("b", 32))
DENSE_MS = [0.001 + spec.macs / 5e7 for spec in LAYERS]


BEHIND = Wiring(sources={"b": (ChannelSource(frozenset({"a"}), 1.0),)})
"""b reads the filters of a."""


def latency_by(*entries: PlanLayer, wiring: Wiring | None = None) -> PlanLatency:
    table = made_up_table([spec.setting for spec in LAYERS], {"unstructured": 3.0})
    network = NetworkTimes(
        name="net",
        layers=tuple(
            LayerTime(name=spec.name, setting=spec.setting, median_us=1e3 * ms)
            for spec, ms in zip(LAYERS, DENSE_MS, strict=True)
        ),
        glue=(SlotTime(name="pool", median_us=GLUE_US),),
        runs=3,
    )
    return PlanLatency(table.model_copy(update={"networks": (network,)}), LAYERS, Plan(layers=entries), wiring)


def test_a_network_is_its_layers_and_the_glue() -> None:
    assert latency_by()() == pytest.approx(sum(DENSE_MS) + GLUE_US / 1e3)
    pruned = latency_by(PlanLayer.of(LAYERS[1], FILTER, 0.5))
    assert pruned() == pytest.approx(sum(DENSE_MS) + GLUE_US / 1e3 - LAYERS[1].macs / 1e8)


def test_densities_may_be_others_than_the_plans() -> None:
    pruned = latency_by(PlanLayer.of(LAYERS[1], PUNCHED, 0.5))
    assert pruned({"b": 0.2}) == pytest.approx(latency_by(PlanLayer.of(LAYERS[1], PUNCHED, 0.2))())
    assert pruned({"a": 0.2}) == pruned(), "a dense layer stays dense"


def test_what_the_compiler_drops_is_not_counted() -> None:
    pruned = latency_by(PlanLayer.of(LAYERS[1], FILTER, 0.5))
    left = pruned() - 0.25 * LAYERS[1].macs / 5e7 - 0.75 * LAYERS[0].macs / 5e7
    assert pruned(shares={"b": 0.5, "a": 0.25}) == pytest.approx(left)


def test_a_layer_whose_zeros_do_not_pay_counts_as_dense() -> None:
    pruned = latency_by(PlanLayer.of(LAYERS[1], UNSTRUCTURED, 0.2))
    assert pruned() < latency_by()()
    assert pruned({"b": 0.5}) == latency_by()()


def test_a_scheme_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(UserError, match="was not measured as punched:2x3"):
        latency_by(PlanLayer.of(LAYERS[1], SchemeSpec("punched", (2, 3)), 0.5))


def test_a_layer_behind_lost_filters_runs_a_share_of_what_it_keeps() -> None:
    a, b = LAYERS
    for of_b, density in ((), 1.0), ((PlanLayer.of(b, PUNCHED, 0.5),), 0.5), ((PlanLayer.of(b, FILTER, 0.5),), 0.5):
        entries = (PlanLayer.of(a, FILTER, 0.25), *of_b)
        saved_ms = latency_by(*entries)() - latency_by(*entries, wiring=BEHIND)()
        assert saved_ms == pytest.approx(0.75 * density * b.macs / 5e7)
    of_blocks = (PlanLayer.of(a, PUNCHED, 0.25), PlanLayer.of(b, PUNCHED, 0.5))
    assert latency_by(*of_blocks)() == latency_by(*of_blocks, wiring=BEHIND)(), "only whole filters are channels"


def test_densities_of_filters_may_be_others_than_the_plans() -> None:
    pruned = latency_by(PlanLayer.of(LAYERS[0], FILTER, 0.5), wiring=BEHIND)
    assert pruned({"a": 0.25}) == latency_by(PlanLayer.of(LAYERS[0], FILTER, 0.25), wiring=BEHIND)()
