"""DeviceEngine: runs a compiled network on a device, as an engine does here; for verifying, not for speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from prunemap.core.artifact import TensorInfo
from prunemap.devices import PlacedProgram, opened
from prunemap.exporting import read_raw, write_raw
from prunemap.on_device.place import Place
from prunemap.runtime import Compiled, Program
from prunemap.runtime.engine import checked_inputs

_INPUTS, _OUTPUTS = "inputs.bin", "outputs.bin"


@dataclass(frozen=True)
class DeviceEngine:
    """A program on a device."""

    program: Program
    placed: PlacedProgram

    @classmethod
    @contextmanager
    def open(cls, place: Place, program: Compiled, cc: str | None = None) -> Iterator[DeviceEngine]:
        """Send a program there; it is removed at the end.

        Raises:
            UserError: it cannot run there.
        """
        whole = place.check(program)
        with opened(place.device) as session:
            yield cls(whole, place.send(session, whole, "model", cc=cc))

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Names and shapes of the inputs."""
        return self.program.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Names and shapes of the outputs, in graph order."""
        return self.program.manifest.outputs

    def run(self, x: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run once there; the inputs go there, the outputs come back.

        Raises:
            UserError: an input does not fit.
            DeviceError: the device fails.
        """
        arrays = checked_inputs(self.inputs, x)
        with TemporaryDirectory(prefix="prunemap-") as folder:
            given, made = Path(folder) / _INPUTS, Path(folder) / _OUTPUTS
            write_raw(given, self.inputs, {info.name: each for info, each in zip(self.inputs, arrays, strict=True)})
            self.placed.session.push(given, _INPUTS)
            self.placed.run("--inputs", _INPUTS, "--outputs", _OUTPUTS, "--runs", 0, "--warmup", 0)
            self.placed.session.pull(_OUTPUTS, made)
            return read_raw(made, self.outputs)
