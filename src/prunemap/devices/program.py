"""Exported programs on a device: how they are called, and what they say."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError

from prunemap.core.value import Value
from prunemap.devices.session import RUN_S, Session

_TIMES = "times.bin"
CHECK_FAILED = 1
"""Exit code of a program whose outputs are not those of its reference."""


class ProgramCheck(Value):
    """What a program made of its own reference."""

    max_relative_error: float
    tolerance: float
    passed: bool


class SlotMedian(Value):
    """What a slot took."""

    name: str
    median_us: float


class ProgramReport(Value):
    """What a program says with --json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target: str
    threads: int
    check: ProgramCheck | None
    run_us: tuple[float, ...]
    slots: tuple[SlotMedian, ...]


@dataclass(frozen=True)
class PlacedProgram:
    """A program in the folder of a session."""

    session: Session
    name: str
    cpus: tuple[int, ...] = ()
    """Where it may run; () = anywhere."""
    threads: int = 1
    size_bytes: int = 0
    """Of all its files."""

    @classmethod
    def place(
        cls,
        session: Session,
        files: Mapping[str, bytes],
        name: str,
        *,
        cpus: Sequence[int] = (),
        threads: int = 1,
    ) -> PlacedProgram:
        """Copy a program to the device.

        Args:
            files: by path there; the one called ``name`` runs it.

        Raises:
            DeviceError: it is not whole there.
        """
        with tempfile.TemporaryDirectory(prefix="prunemap-") as folder:
            for i, (path, data) in enumerate(files.items()):
                file = Path(folder) / str(i)
                file.write_bytes(data)
                session.push(file, path)
        return cls(session, name, tuple(cpus), threads, sum(map(len, files.values())))

    def command(self, *options: object) -> str:
        """Return the command that runs it, as a shell takes it."""
        pinned = f"taskset {sum(1 << cpu for cpu in self.cpus):x}" if self.cpus else ""
        words = (pinned, self.session.device.emulator, f"./{self.name} --json --threads {self.threads}")
        return " ".join((*filter(None, words), shlex.join(map(str, options)))).rstrip()

    def run(self, *options: object, timeout_s: float = RUN_S) -> ProgramReport:
        """Run it once.

        Raises:
            DeviceError: it cannot run there, or fails for more than a check.
        """
        done = self.session.run(self.command(*options), timeout_s, allowed=(0, CHECK_FAILED))
        report = parse_report(done.out)
        if report is None:
            said = " ".join(done.text.split())[:300]
            raise self.session.device.failed(f"the program said no result ({said})", "export it again")
        return report

    def time_slots(self, slots: int, runs: int, *options: object) -> NDArray[np.float64]:
        """Return seconds of shape (runs, slots), timed inside of the program.

        Raises:
            DeviceError: it cannot run there, or its file of times is not whole.
        """
        self.run("--runs", runs, "--no-check", "--times", _TIMES, *options)
        with tempfile.TemporaryDirectory(prefix="prunemap-") as folder:
            file = Path(folder) / _TIMES
            self.session.pull(_TIMES, file)
            seconds = np.fromfile(file, "<f8")
        if seconds.size != runs * slots:
            found = f"{seconds.size} times came, not {runs} x {slots}"
            raise self.session.device.failed(found, "see that there is space there: df -h")
        return seconds.reshape(runs, slots)


def parse_report(text: str) -> ProgramReport | None:
    """Return the report in what a program has said, None if there is none."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                return ProgramReport.model_validate_json(line)
            except ValidationError:
                return None
    return None
