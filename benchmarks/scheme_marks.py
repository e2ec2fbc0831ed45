"""How the plots of the benchmarks draw each scheme."""

from __future__ import annotations

MARKS = {"unstructured": "o", "punched": "s", "pattern": "^", "filter": "D", "rules": "*"}
COLOURS = {
    "unstructured": "#d55e00",
    "punched:2x1": "#9ecae1",
    "punched:4x1": "#6baed6",
    "punched:4x4": "#4292c6",
    "punched:8x4": "#2171b5",
    "punched:16x8": "#08306b",
    "pattern": "#009e73",
    "filter": "#444444",
    "rules": "#cc79a7",
}
"""By scheme; blocks darken as they grow."""
