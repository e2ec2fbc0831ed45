"""Which colour and dashes a scheme or a training has, the same on the whole page: names of CSS classes."""

from __future__ import annotations

from collections.abc import Iterable

from prunemap.core.scheme_spec import DENSE, SchemeSpec

SCHEME_COLOURS = {
    "dense": "c0",
    "punched": "c1",
    "block": "c2",
    "pattern": "c3",
    "filter": "c4",
    "unstructured": "c5",
    "column": "c6",
}
PHASE_COLOURS = {"dense": "c1", "prune": "c2", "retrain": "c6", "control": "c4", "control-prune": "c3"}
OTHER_COLOUR = "c0"
DASHES = 5
"""Dash patterns of the style sheet, d0 being a solid line."""


def scheme_styles(schemes: Iterable[SchemeSpec]) -> dict[SchemeSpec, str]:
    """Return the style of every scheme: a colour by name, dashes by block size, dense first."""
    found: dict[SchemeSpec, str] = {}
    for name, members in _by_name(schemes).items():
        for i, scheme in enumerate(sorted(members, key=_block_size)):
            found[scheme] = f"{SCHEME_COLOURS.get(name, OTHER_COLOUR)} d{i % DASHES}"
    return dict(sorted(found.items(), key=lambda item: item[0] != DENSE))


def phase_style(phase: str) -> str:
    """Return the style of a training."""
    return f"{PHASE_COLOURS.get(phase, OTHER_COLOUR)} d0"


def _by_name(schemes: Iterable[SchemeSpec]) -> dict[str, set[SchemeSpec]]:
    found: dict[str, set[SchemeSpec]] = {name: set() for name in SCHEME_COLOURS}
    for scheme in schemes:
        found.setdefault(scheme.name, set()).add(scheme)
    return found


def _block_size(scheme: SchemeSpec) -> tuple[int, int]:
    rows, columns = scheme.block or (0, 0)
    return rows * columns, rows
