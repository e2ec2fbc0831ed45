"""One helper for every plug-in table: an explicit tuple in, a dict by name out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from prunemap.errors import InternalError, UserError


class Named(Protocol):
    """Anything with a name: a scheme, a format, a target, a model, …"""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


def by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return the entries keyed by name, in order.

    Raises:
        InternalError: two entries share a name.
    """
    table: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in table:
            raise InternalError(f"two table entries are called {entry.name!r}")
        table[entry.name] = entry
    return table


def look_up(table: dict[str, Entry], name: str, what: str) -> Entry:
    """Return ``table[name]``.

    Raises:
        UserError: there is no such entry; the message lists those that there are.
    """
    if name not in table:
        raise UserError(f"{what}: got {name!r}, allowed are {', '.join(table)}")
    return table[name]
