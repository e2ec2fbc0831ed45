"""What a pass is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prunemap.compiler.ir import Graph


@dataclass(frozen=True)
class Pass:
    """A named graph → graph function."""

    name: str
    run: Callable[[Graph], Graph]
