"""FUNCTIONS (provisional)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from prunemap.compiler.ir import Kind
from prunemap.core.table import by_name


@dataclass(frozen=True)
class Function:
    """A function of elements."""

    name: str
    arity: int
    meaning: Callable[..., Any]
    code: str
    result: Literal["same", "bool", "f32", "i32"] = "same"
    integer_code: str | None = None


FUNCTIONS = by_name((Function("add", 2, np.add, "({0} + {1})"), Function("mul", 2, np.multiply, "({0} * {1})")))


def expression(name: str, kinds: Sequence[Kind]) -> str:
    """Return the C template."""
    return FUNCTIONS[name].code
