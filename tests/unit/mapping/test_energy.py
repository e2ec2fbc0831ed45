from __future__ import annotations

import numpy as np
import pytest

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.mapping import energy
from prunemap.mapping.energy import as_counted, kept_share
from prunemap.schemes import make_mask

CASES = [
    ("dense", (8, 6, 3, 3)),
    ("unstructured", (12, 10, 3, 3)),
    ("filter", (12, 10, 3, 3)),
    ("column", (12, 10, 3, 3)),
    ("pattern", (12, 10, 3, 3)),
    ("punched:8x4", (20, 10, 3, 3)),
    ("punched:4x1", (20, 10)),
    ("block:8x4", (20, 10)),
]


@pytest.mark.parametrize(("scheme", "shape"), CASES)
@pytest.mark.parametrize("density", [0.1, 0.25, 0.4])
def test_agrees_with_the_mask(scheme: str, shape: tuple[int, ...], density: float) -> None:
    weight = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    spec = SchemeSpec.parse(scheme)
    mask = make_mask(weight, spec, density)
    kept, of_energy = kept_share(weight, spec)(density)
    assert kept == pytest.approx(mask.mean())
    share = (weight[mask] ** 2).sum() / (weight**2).sum()
    assert of_energy == pytest.approx(share, rel=1e-5)
    assert as_counted(of_energy, spec) == (of_energy**2.5 if scheme == "filter" else of_energy)


def test_long_curves_are_exact_to_their_resolution() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64, 3, 3), dtype=np.float32)
    spec = SchemeSpec("unstructured")
    mask = make_mask(weight, spec, 0.2)
    kept, of_energy = kept_share(weight, spec)(0.2)
    assert kept == pytest.approx(0.2, abs=1 / 4096)
    assert of_energy == pytest.approx((weight[mask] ** 2).sum() / (weight**2).sum(), abs=2e-3)


@pytest.mark.parametrize("scheme", ["unstructured", "punched:8x4", "block:8x4", "filter"])
def test_very_large_weights_are_sampled(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows differ in strength, and the last row of blocks is not whole."""
    generator, spec = np.random.default_rng(0), SchemeSpec.parse(scheme)
    weight = generator.standard_normal((1021, 64), np.float32) * generator.uniform(0.5, 2, (1021, 1)).astype(np.float32)
    exact = kept_share(weight, spec)
    monkeypatch.setattr(energy, "SAMPLE", 24_000)
    sampled = kept_share(weight, spec)
    for density in (0.05, 0.2, 0.6):
        assert sampled(density) == pytest.approx(exact(density), abs=0.02)
    assert (sampled(0.2) == exact(0.2)) == (scheme == "filter")


def test_all_zero_weights_keep_nothing() -> None:
    weight = np.zeros((8, 8), np.float32)
    for scheme in ("unstructured", "block:4x4"):
        assert kept_share(weight, SchemeSpec.parse(scheme))(0.5)[1] == 0
