"""Patterns that mean layers: a name, a glob, ``re:`` and a regular expression, or a kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import get_args

from prunemap.core.layer import LayerKind, LayerSpec
from prunemap.errors import Problems

REGEX = "re:"
KINDS: tuple[str, ...] = get_args(LayerKind)
SHOWN_NAMES = 6


def matching_layers(pattern: str, layers: Sequence[LayerSpec], argument: str, problems: Problems) -> list[LayerSpec]:
    """Return the layers that a pattern means; where there is none, or it is no pattern, add that to ``problems``.

    Args:
        pattern: ``re:`` and a regular expression for the whole name, a kind such as ``depthwise``, else a name or a
            glob such as ``layer1.*``; names are those of the layers and of their modules.
        argument: what gave the pattern, for messages.
    """
    try:
        found = [layer for layer in layers if _matches(pattern, layer, layers)]
    except re.error as error:
        problems.add(f"{argument}: {pattern!r} is no regular expression: {error}")
        return []
    if not found:
        names = ", ".join(layer.name for layer in layers[:SHOWN_NAMES])
        problems.add(f"{argument}: {pattern!r} matches no layer; there are {names}, …")
    return found


def _matches(pattern: str, layer: LayerSpec, layers: Sequence[LayerSpec]) -> bool:
    names = {layer.name, layer.module} - {""}
    if pattern.startswith(REGEX):
        return any(re.fullmatch(pattern.removeprefix(REGEX), name) for name in names)
    if pattern in KINDS and all(pattern not in (each.name, each.module) for each in layers):
        return layer.kind == pattern
    return any(fnmatchcase(name, pattern) for name in names)
