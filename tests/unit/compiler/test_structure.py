"""The scheme is found again from the zeros that it left."""

from __future__ import annotations

import numpy as np
import pytest

from prunemap.compiler import structure_of
from tests.networks import weight


@pytest.mark.parametrize(
    "scheme",
    [
        "dense",
        "unstructured",
        "filter",
        "column",
        "pattern",
        "punched:16x8",
        "punched:8x4",
        "punched:4x1",
        "punched:2x2",
    ],
)
def test_conv_structure(scheme: str) -> None:
    values = weight(np.random.default_rng(0), 48, 24, 3, 3, scheme=scheme)
    assert str(structure_of(values)) == scheme


@pytest.mark.parametrize("scheme", ["block:16x16", "block:8x8", "punched:8x4", "unstructured", "filter"])
def test_linear_structure(scheme: str) -> None:
    values = weight(np.random.default_rng(0), 64, 96, scheme=scheme, density=0.2)
    assert str(structure_of(values)) == scheme


def test_sizes_that_do_not_divide() -> None:
    values = weight(np.random.default_rng(0), 21, 10, 3, 3, scheme="punched:8x4")
    assert str(structure_of(values)) == "punched:8x4"
