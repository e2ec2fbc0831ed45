"""Commands on PATH that play adb and ssh, and what they were called with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ADB = """
[ "$1" = -s ] && shift 2
case "$1" in
  devices) printf 'List of devices attached\\nR5CT\\tdevice\\n0a38\\tunauthorized\\n' ;;
  shell) exec sh -c "$(printf %s "$2" | sed 's#/data/local/tmp#{root}#g')" ;;
  push) cp "$2" "$3" && echo "1 file pushed" ;;
  pull) cp "$2" "$3" && echo "1 file pulled" ;;
esac
"""
"""A phone whose /data/local/tmp is a folder here."""
SSH = 'for last; do :; done; exec sh -c "$(printf %s "$last" | sed "s#/tmp/prunemap#{root}/prunemap#g")"'
"""A board whose /tmp is a folder here."""


@dataclass(frozen=True)
class Fake:
    """A command that stands for another."""

    log: Path
    root: Path

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every call so far."""
        return [call.split("\0") for call in self.log.read_text().split("\0\0") if call] if self.log.exists() else []

    @property
    def verbs(self) -> list[str]:
        """What adb was asked for, call by call."""
        return [next(word for word in call if word in ("devices", "shell", "push", "pull")) for call in self.calls]


MakeFake = Callable[..., Fake]


def install_fake(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Fake:
    """Put a shell script of a name in front of PATH."""
    root, bin_folder = folder / f"{name}-root", folder / "bin"
    root.mkdir()
    bin_folder.mkdir(exist_ok=True)
    log = folder / f"{name}.log"
    words = f"printf '%s\\0' \"$@\" >> {log}; printf '\\0' >> {log}"
    command = bin_folder / name
    command.write_text(f"#!/bin/sh\n{words}\n{script.replace('{root}', str(root))}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    return Fake(log, root)
