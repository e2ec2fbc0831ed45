from __future__ import annotations

import numpy as np
import pytest

from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import Probe, make_probes, probe_settings
from prunemap.latency.local_timer import case_of
from prunemap.schemes import why_illegal
from tests.unit.latency.fake_timer import LARGE, LARGEST_USUAL

CONV = LayerSetting(kind="conv", in_channels=16, out_channels=32, kernel=(3, 3), pads=(1, 1, 1, 1), size=(14, 14))
POINT = LayerSetting(kind="conv", in_channels=16, out_channels=32, size=(14, 14))
LINEAR = LayerSetting(kind="linear", in_channels=64, out_channels=10)
DEPTHWISE = LayerSetting(
    kind="depthwise", in_channels=16, out_channels=16, kernel=(3, 3), pads=(1, 1, 1, 1), groups=16, size=(14, 14)
)


def test_every_setting_is_probed_dense_and_only_with_legal_schemes() -> None:
    probes = make_probes([CONV, POINT, LINEAR])
    for setting in (CONV, POINT, LINEAR):
        assert Probe(setting, DENSE, 1.0) in probes
    assert len(set(probes)) == len(probes)
    for probe in probes:
        assert why_illegal(probe.scheme, probe.setting.weight_shape, probe.density) is None
    schemes = {probe.setting: {p.scheme.name for p in probes if p.setting == probe.setting} for probe in probes}
    assert "pattern" in schemes[CONV] and "block" not in schemes[CONV]
    assert "block" in schemes[LINEAR] and "pattern" not in schemes[LINEAR]


def test_repeated_settings_are_probed_once() -> None:
    assert make_probes([CONV, CONV]) == make_probes([CONV])
    assert probe_settings([CONV, None, LINEAR, CONV]) == [CONV, LINEAR]


def test_depthwise_takes_schemes_without_blocks() -> None:
    assert {p.scheme.name for p in make_probes([DEPTHWISE])} == {"dense", "unstructured", "pattern", "filter"}


def test_a_scheme_with_a_largest_density_is_measured_there() -> None:
    densities = [p.density for p in make_probes([CONV], [SchemeSpec("pattern")], (0.1, 0.6, 0.9)) if p.scheme != DENSE]
    assert densities == [0.1, 0.4444]


def test_a_layer_of_very_many_weights_has_one_block_size_per_scheme_and_two_densities() -> None:
    cases: dict[str, list[float]] = {}
    for probe in make_probes([LARGE]):
        cases.setdefault(str(probe.scheme), []).append(probe.density)
    assert cases == {"dense": [1.0]} | {
        scheme: [0.05, 0.5] for scheme in ("unstructured", "punched:16x4", "block:8x4", "filter")
    }
    assert len(make_probes([LARGEST_USUAL])) == len(make_probes([LINEAR])) > len(make_probes([LARGE]))


def test_only_of_a_very_large_weight_the_scheme_is_told_instead_of_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Probe, "weight", lambda *_: np.zeros(0, np.float32))  # it would take seconds
    filters = SchemeSpec("filter")
    schemes = [case_of(Probe(setting, filters, 0.5)).scheme for setting in (LARGE, LARGEST_USUAL, LINEAR)]
    assert schemes == [filters, None, None]


@pytest.mark.parametrize("probe", make_probes([CONV, LINEAR]), ids=str)
def test_weights_have_the_zeros_of_the_scheme(probe: Probe) -> None:
    weight = probe.weight()
    assert weight.shape == probe.setting.weight_shape
    assert weight.dtype == np.float32
    assert (weight != 0).mean() == pytest.approx(probe.density, abs=0.08)
    assert np.array_equal(weight, probe.weight())


@pytest.mark.parametrize(
    ("schemes", "densities", "message"),
    [
        (["punched"], (0.1,), "needs a block size"),
        (["nonsense"], (0.1,), "unknown"),
        (["filter:8x4"], (0.1,), "takes no block size"),
        (["filter"], (), "densities: got none"),
        (["filter"], (0.1, 0.0), r"densities: got 0, allowed"),
        (["filter"], (1.5,), r"densities: got 1.5, allowed"),
    ],
)
def test_bad_grids_are_refused(schemes, densities, message) -> None:
    with pytest.raises(UserError, match=message):
        make_probes([CONV], [SchemeSpec.parse(text) for text in schemes], densities)
