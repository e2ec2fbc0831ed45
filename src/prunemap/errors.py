"""The three kinds of failure: the user's, not supported yet, and ours.

``exit_code`` is what the command line returns: 2 for input that cannot be used, 3 for a defect of prunemap.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_INTERRUPTED = 130
"""What the command line returns after Ctrl-C."""


class PrunemapError(Exception):
    """Base of every error that prunemap raises on purpose."""

    exit_code = 3


class UserError(PrunemapError):
    """The input cannot be used; the message names the argument, the value got and what is allowed."""

    exit_code = 2


class UnsupportedError(UserError):
    """The input is legal but prunemap cannot do it yet; the message lists every place and what to do."""


class InternalError(PrunemapError):
    """A defect of prunemap; please report it."""


class Problems:
    """Collects every problem of one input, so that the user sees them all at once."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    def extend(self, problems: Iterable[str]) -> None:
        self.found.extend(problems)

    def raise_if_any(self, limit: int = 8) -> None:
        """Raise one ``UserError`` that lists at most ``limit`` of the problems and counts the rest."""
        if not self.found:
            return
        shown = [f"  - {problem}" for problem in self.found[:limit]]
        if len(self.found) > limit:
            shown.append(f"  … and {len(self.found) - limit} more")
        raise UserError("\n".join([f"{self.what}:", *shown]))
