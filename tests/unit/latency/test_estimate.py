"""Estimates of settings that were not measured, on devices whose latency is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prunemap.core.latency_table import LatencyPoint, LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import GRID, Predictor
from prunemap.latency.check import check_settings
from prunemap.latency.estimate import family_of
from tests.unit.latency.fake_timer import MACHINE

PUNCHED = SchemeSpec("punched", (8, 4))
Device = Callable[[LayerSetting, float], float]


def conv(inputs: int, outputs: int, size: int, kernel: int = 1) -> LayerSetting:
    return LayerSetting(
        kind="conv",
        in_channels=inputs,
        out_channels=outputs,
        kernel=(kernel, kernel),
        pads=4 * (kernel // 2,),
        size=(size, size),
    )


MEASURED = [conv(c, o, size) for c in (32, 64, 128) for o in (32, 64, 256) for size in (7, 14, 28)]
NEW = conv(96, 128, 14)


def table_of(device: Device, settings: list[LayerSetting] = MEASURED) -> LatencyTable:
    points = [
        LatencyPoint(
            setting=setting,
            scheme=scheme,
            density=density,
            median_us=device(setting, density),
            p10_us=1,
            p90_us=1,
            runs=9,
        )
        for setting in settings
        for scheme, density in ((DENSE, 1.0), (PUNCHED, 0.1), (PUNCHED, 0.5))
    ]
    return LatencyTable(machine=MACHINE, threads=1, points=tuple(points))


def by_macs(setting: LayerSetting, density: float) -> float:
    return setting.macs * density / 1e5


def with_overheads(setting: LayerSetting, density: float) -> float:
    """Starting costs, stores that do not follow the density, and a rate that grows with the map."""
    rate = 1e5 * (setting.uses / 196) ** 0.2
    return 1 + setting.macs * density / rate + setting.out_channels * setting.uses / 2e4


def test_is_exact_where_time_follows_the_work() -> None:
    predictor = Predictor(table_of(by_macs), estimate=True)
    predictor.require([NEW])
    assert predictor.latency_us(NEW, PUNCHED, 0.3) == pytest.approx(by_macs(NEW, 0.3))
    assert predictor.estimator.error(NEW, PUNCHED) == pytest.approx(0, abs=1e-9)
    assert predictor.schemes(NEW) == (PUNCHED,)
    assert predictor.lowest_density(NEW, PUNCHED) == 0.1


def test_the_stated_error_is_that_of_leaving_each_setting_out() -> None:
    table = table_of(with_overheads)
    predictor = Predictor(table, estimate=True)
    error = predictor.estimator.error(NEW, PUNCHED)
    off = [abs(each.error) for each in check_settings(table) if each.scheme == PUNCHED]
    assert len(off) == 2 * len(MEASURED)
    assert error == pytest.approx(sum(off) / len(off))
    assert 0 < error < 0.15
    assert predictor.latency_us(NEW, PUNCHED, 0.3) == pytest.approx(with_overheads(NEW, 0.3), rel=2 * error)


def test_measured_settings_are_not_estimated() -> None:
    predictor = Predictor(table_of(with_overheads), estimate=True)
    assert predictor.latency_us(MEASURED[4], PUNCHED, 0.1) == with_overheads(MEASURED[4], 0.1)
    assert predictor.describe_estimates([MEASURED[4], None]) == []
    other = conv(48, 64, 14)
    (line,) = predictor.describe_estimates([NEW, NEW, other])
    assert line.startswith("not measured, estimated from others to about ±") and line.endswith(f": {NEW}; {other}")
    errors = [predictor.estimator.error(NEW, scheme) for scheme in (DENSE, PUNCHED)]
    assert f"±{errors[0]:.0%} dense" in line and f"±{max(errors):.0%} as" in line


def test_nothing_is_estimated_unless_asked() -> None:
    predictor = Predictor(table_of(by_macs))
    assert predictor.schemes(NEW) == ()
    with pytest.raises(UserError, match=r"it lacks layers of this model.*or estimate them: --estimate"):
        predictor.require([NEW])
    with pytest.raises(UserError, match="it lacks layers of this model"):
        predictor.latency_us(NEW, DENSE, 1.0)


def test_what_was_measured_of_a_layer_counts_before_estimates() -> None:
    """Only its punched form was measured, twice as slow as that of the others."""
    table = table_of(by_macs)
    own = [
        each.model_copy(update={"median_us": 2 * by_macs(NEW, each.density), "scheme": scheme})
        for each in table_of(by_macs, [NEW]).points
        if each.scheme == PUNCHED
        for scheme in (PUNCHED, SchemeSpec("filter"))
    ]
    predictor = Predictor(table.model_copy(update={"points": (*table.points, *own)}), estimate=True)
    assert predictor.latency_us(NEW, PUNCHED, 0.3) == pytest.approx(2 * by_macs(NEW, 0.3))
    assert predictor.dense_us(NEW) == pytest.approx(by_macs(NEW, 1.0))
    (line,) = predictor.describe_estimates([NEW])
    assert "±0% dense, ±0% as dense, the worst" in line, "nothing but the dense layer is estimated"


def test_an_estimate_goes_down_to_where_all_neighbours_were_measured() -> None:
    table = table_of(by_macs)
    deeper = [each.model_copy(update={"density": 0.02}) for each in table.points[1::3]][:4]
    predictor = Predictor(table.model_copy(update={"points": (*table.points, *deeper)}), estimate=True)
    assert predictor.lowest_density(MEASURED[0], PUNCHED) == 0.02
    assert predictor.lowest_density(NEW, PUNCHED) == 0.1


def test_a_layer_far_beyond_the_measured_ones_is_said_to_be() -> None:
    predictor = Predictor(table_of(by_macs), estimate=True)
    near, far = conv(256, 512, 14), conv(300, 128, 3)  # twice the most inputs and outputs, and more
    _, line = predictor.describe_estimates([near, far])
    where = "inputs 300, not 32 to 128, pixels or vectors 9, not 49 to 784"
    assert line == f"less sure, beyond what was measured: {far} ({where})"


def test_a_scheme_that_the_layer_cannot_have_is_not_estimated_whatever_the_table_holds() -> None:
    block, pattern = SchemeSpec("block", (8, 4)), SchemeSpec("pattern")
    table = table_of(by_macs)
    others = [
        point.model_copy(update={"scheme": scheme}) for point in table.points[1::3] for scheme in (block, pattern)
    ]
    predictor = Predictor(table.model_copy(update={"points": (*table.points, *others)}), estimate=True)
    assert predictor.estimator.neighbours(NEW, pattern), "it could be"
    assert predictor.schemes(NEW) == (PUNCHED, block), "pattern is for 3x3 kernels"


def dense_us(setting: LayerSetting, rates: dict[LayerSetting, float]) -> float:
    """Return the estimate of a dense layer from others, of which the multiply-accumulates per microsecond are known."""
    table = table_of(lambda each, density: each.macs * density / rates[each], list(rates))
    return Predictor(table, estimate=True).dense_us(setting)


def test_few_neighbours_close_together_mean_their_mean_rate() -> None:
    """What they differ by is noise: it is not carried on to a layer that is far from all of them."""
    rates = {conv(30, 64, 14): 0.9e5, conv(32, 64, 14): 1.0e5, conv(34, 64, 14): 1.1e5}
    far = conv(256, 64, 14)
    assert dense_us(far, rates) == pytest.approx(far.macs / 1e5, rel=0.1)


def test_the_nearer_a_neighbour_the_more_it_counts() -> None:
    """Those on both sides of it run at one rate, those far to both sides at half of it."""
    rates = {conv(62, 64, 14): 1e5, conv(66, 64, 14): 1e5, conv(16, 64, 14): 0.5e5, conv(256, 64, 14): 0.5e5}
    between = conv(64, 64, 14)
    assert dense_us(between, rates) == pytest.approx(between.macs / 1e5, rel=0.1)


@pytest.mark.parametrize(
    ("measured", "wanted"),
    [
        (MEASURED, conv(64, 64, 14, kernel=3)),
        (MEASURED, NEW.model_copy(update={"stride": (2, 2)})),
        (MEASURED[:2], NEW),
    ],
    ids=["another kernel", "another stride", "too few"],
)
def test_what_cannot_be_estimated_is_said(measured: list[LayerSetting], wanted: LayerSetting) -> None:
    predictor = Predictor(table_of(by_macs, measured), estimate=True)
    with pytest.raises(UserError, match=r"it lacks layers of this model.*too few of their kind for an estimate"):
        predictor.require([wanted])


def test_every_setting_of_the_grid_can_be_estimated_from_the_others() -> None:
    assert len(set(GRID)) == len(GRID)
    assert {setting.kind for setting in GRID} == {"conv", "depthwise", "linear"}
    predictor = Predictor(table_of(by_macs, list(GRID)))
    for setting in GRID:
        assert len(predictor.estimator.neighbours(setting, DENSE)) >= 3, setting
    assert len({family_of(setting) for setting in GRID}) == 13
