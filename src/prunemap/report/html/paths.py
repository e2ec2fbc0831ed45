"""Paths as a page shows them: it is passed on, so it must not say where things lie on this machine."""

from __future__ import annotations

import re
from pathlib import Path

_WORD = re.compile(r"""(?P<quote>['"])(?P<quoted>[^'"]*)(?P=quote)|(?P<plain>[^\s'"=,()]+)""")
_SEPARATORS = re.compile(r"([=,])")


def shown_command(text: str, run: Path) -> str:
    """Return a command with every path in it as :func:`shown_path` has it."""

    def shown(match: re.Match[str]) -> str:
        quote, words = match["quote"] or "", _SEPARATORS.split(match["plain"] or match["quoted"])
        return quote + "".join(shown_path(word, run) for word in words) + quote

    return _WORD.sub(shown, text)


def shown_path(path: str, run: Path) -> str:
    """Return a path in the run folder relative to it, another absolute one as its name, all else as it is."""
    given, folder = Path(path), run.resolve()
    if "/" in path and (resolved := given.resolve()).is_relative_to(folder):
        return str(resolved.relative_to(folder))
    return given.name if given.is_absolute() else path
