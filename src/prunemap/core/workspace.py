"""Workspace: a folder of stages that are not run again while what went into them is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from prunemap.core.files import check_writable, sha256_of
from prunemap.core.value import Value, read_json, write_json


class Stamps(Value):
    """stages.json: per finished stage the hash of all that went in, and of each file that came out."""

    inputs: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = Field(default_factory=dict)


class Workspace:
    """Runs stages in a folder; ``say`` is told of each what happens to it.

    Of several processes that run the same stages, all but the first have ``notes`` False: they only read what is done.
    """

    def __init__(self, folder: str | Path, say: Callable[[str], None], *, notes: bool = True) -> None:
        self.folder = Path(folder)
        self._say, self._notes = say, notes
        self._file = self.folder / "stages.json"
        check_writable(self._file)

    def stage(
        self,
        name: str,
        run: Callable[[], object],
        *,
        settings: Sequence[object] = (),
        reads: Sequence[Path] = (),
        writes: Sequence[Path],
    ) -> None:
        """Run a stage, unless it was finished with the same settings and inputs and its files are as it left them.

        Args:
            settings: values that the stage depends on; their text is compared.
            reads: files that it depends on.
            writes: files that it makes.
        """
        stamps = read_json(self._file, Stamps, "stages.json") if self._file.exists() else Stamps()
        key = _key(version("prunemap"), name, *(str(each) for each in settings), *(sha256_of(path) for path in reads))
        if stamps.inputs.get(name) == key and stamps.outputs.get(name) == _hashes(writes):
            self._say(f"{name}: reused")
            return
        self._say(f"{name}:")
        run()
        if self._notes:
            stamps = Stamps(inputs={**stamps.inputs, name: key}, outputs={**stamps.outputs, name: _hashes(writes)})
            write_json(self._file, stamps)


def _key(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in paths if path.exists()}
