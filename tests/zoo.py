"""The networks of the zoo, for tests of each."""

from __future__ import annotations

from typing import Any

import pytest

from prunemap.models import MODELS


def zoo(*always: str) -> list[Any]:
    """Return the names of all networks as parameters; those that are not named here run with --whole only."""
    return [pytest.param(name, marks=[] if name in always else [pytest.mark.whole]) for name in MODELS]
