from __future__ import annotations

import pytest

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import Predictor

CONV = LayerSetting(kind="conv", in_channels=16, out_channels=32, kernel=(3, 3), pads=(1, 1, 1, 1), size=(14, 14))
LINEAR = LayerSetting(kind="linear", in_channels=64, out_channels=10)
PUNCHED = SchemeSpec("punched", (8, 4))
FILTER = SchemeSpec("filter")


def point(scheme: SchemeSpec, density: float, median_us: float) -> LatencyPoint:
    return LatencyPoint(
        setting=CONV, scheme=scheme, density=density, median_us=median_us, p10_us=median_us, p90_us=median_us, runs=9
    )


@pytest.fixture
def predictor() -> Predictor:
    points = (
        point(PUNCHED, 0.5, 60.0),  # out of order on purpose
        point(DENSE, 1.0, 100.0),
        point(PUNCHED, 0.1, 20.0),
        point(PUNCHED, 0.2, 25.0),
        point(FILTER, 0.3, 40.0),
    )
    machine = Machine(cpu="synthetic", arch="none", cores=1, system="none")
    return Predictor(LatencyTable(machine=machine, threads=2, points=points))


def test_is_exact_at_measured_points(predictor: Predictor) -> None:
    for p in predictor.table.points:
        assert predictor.latency_us(CONV, p.scheme, p.density) == p.median_us
    assert predictor.dense_us(CONV) == 100


@pytest.mark.parametrize(
    ("density", "latency_us"),
    [(0.15, 22.5), (0.3, 25 + 35 / 3), (0.01, 20.0), (0.8, 60 + 35), (0.6, 60 + 35 / 3)],
)
def test_is_linear_between_flat_below_and_goes_on_above(predictor: Predictor, density, latency_us) -> None:
    assert predictor.latency_us(CONV, PUNCHED, density) == pytest.approx(latency_us)


def test_from_a_single_point_it_rises_towards_the_dense_layer(predictor: Predictor) -> None:
    (point,) = (each for each in predictor.table.points if each.scheme == FILTER)
    assert predictor.latency_us(CONV, FILTER, point.density) == predictor.latency_us(CONV, FILTER, 0.01) == 40
    assert predictor.latency_us(CONV, FILTER, 1.0) == pytest.approx(100)
    half_way = (1 + point.density) / 2
    assert predictor.latency_us(CONV, FILTER, half_way) == pytest.approx(70)


def test_a_single_point_slower_than_dense_stays_so(predictor: Predictor) -> None:
    points = tuple(
        p.model_copy(update={"median_us": 140.0}) if p.scheme == FILTER else p for p in predictor.table.points
    )
    slow = Predictor(predictor.table.model_copy(update={"points": points}))
    assert slow.latency_us(CONV, FILTER, 0.9) == 140


def test_knows_what_was_measured(predictor: Predictor) -> None:
    assert predictor.schemes(CONV) == (PUNCHED, FILTER)
    assert predictor.schemes(LINEAR) == ()
    assert predictor.lowest_density(CONV, PUNCHED) == 0.1


def test_missing_settings_are_listed_with_the_command(predictor: Predictor) -> None:
    predictor.require([CONV])
    other = CONV.model_copy(update={"size": (7, 7)})
    with pytest.raises(UserError) as caught:
        predictor.require([CONV, LINEAR, other, LINEAR])
    message = str(caught.value)
    assert "prunemap profile MODEL.onnx --threads 2" in message
    assert message.count("linear 64→10") == 1
    assert "at 7x7" in message and "at 14x14" not in message


@pytest.mark.parametrize("given", ["--device ssh:pi@board -o t.json", "-o t.json --device=ssh:pi@board"])
def test_the_command_that_adds_to_a_table_names_its_device(predictor: Predictor, given: str) -> None:
    table = predictor.table.model_copy(update={"command": f"prunemap profile net.onnx {given}"})
    assert table.profile_command().endswith(" --device ssh:pi@board -o LATENCY.json")
    assert "--device" not in predictor.table.profile_command()


def test_a_missing_scheme_is_named(predictor: Predictor) -> None:
    with pytest.raises(UserError, match="was not measured as pattern"):
        predictor.latency_us(CONV, SchemeSpec("pattern"), 0.2)
