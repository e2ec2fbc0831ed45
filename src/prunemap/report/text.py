"""How figures are written in every table, and what a table looks like."""

from __future__ import annotations

from rich import box
from rich.table import Table

WIDTH = 80
SHOWN_NAMES = 4
"""Of so many names a cell lists all."""


def new_table(title: str, *headers: str, caption: str = "", left: int = 1) -> Table:
    """Return an empty table; the first ``left`` columns hold text, the others figures, aligned right."""
    table = Table(
        title=f"\n{title}",
        caption=caption,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
        show_header=any(headers),
        min_width=min(WIDTH, max(map(len, caption.split("\n")))),  # else a narrow table breaks its caption
    )
    for i, header in enumerate(headers):
        table.add_column(header, justify="left" if i < left else "right", overflow="fold")
    return table


def count(number: float) -> str:
    """Return 1234567 as 1.23 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def size(size_bytes: int) -> str:
    """Return 1234567 as 1.23 MB."""
    return f"{count(size_bytes)}B" if size_bytes >= 1e3 else f"{size_bytes} B"


def percent(share: float) -> str:
    """Return 0.1234 as 12.3 %."""
    return f"{share * 100:.1f} %"


def milliseconds(time_ms: float) -> str:
    """Return a time with three significant digits, without an exponent."""
    decimals = 3 if time_ms < 1 else 2 if time_ms < 100 else 0
    return f"{time_ms:.{decimals}f}"


def shape(sizes: tuple[int, ...]) -> str:
    """Return (64, 3, 7, 7) as 64x3x7x7."""
    return "x".join(map(str, sizes))


def times(factor: float) -> str:
    """Return 2.345 as 2.35x."""
    return f"{factor:.2f}x"
