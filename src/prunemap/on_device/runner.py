"""DeviceRunner: measures the latency of plans on a device, for a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from prunemap.benchmarking.local_runner import LEAST_RUNS, MEASURED_SECONDS, WARM_UP_RUNS
from prunemap.compiler import compile_model
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.plan import Plan
from prunemap.devices import opened
from prunemap.on_device.bench import check_not_emulated
from prunemap.on_device.place import Place


@dataclass(frozen=True)
class DeviceRunner:
    """Prunes the network by a plan in one shot, compiles it here, and times it on a device.

    Raises:
        UserError: the device emulates.
    """

    model: Path
    place: Place
    shapes: Mapping[str, tuple[int, ...]] | None = None
    cc: str | None = None
    """C compiler; None = ``zig cc``."""

    def __post_init__(self) -> None:
        check_not_emulated(self.place)

    @property
    def name(self) -> str:
        """Of the device."""
        return self.place.device.name

    def latency_us(self, plan: Plan) -> float:
        """Return the median time of a run.

        Raises:
            UserError: the model cannot be compiled, or the device cannot be used.
        """
        with TemporaryDirectory() as folder:
            pruned = Path(folder) / "candidate.onnx"
            write_pruned(self.model, plan, pruned, self.shapes)
            target, tuning = self.place.target.name, self.place.tuning
            program = compile_model(pruned, target=target, shapes=self.shapes, cc=self.cc, tune=tuning)
        quick = ("--no-check", "--no-layers", "--warmup", WARM_UP_RUNS)
        with opened(self.place.device) as session:
            placed = self.place.send(session, program, "candidate")
            once = float(np.median(placed.run("--runs", WARM_UP_RUNS, *quick).run_us)) / 1e6
            runs = max(LEAST_RUNS, ceil(MEASURED_SECONDS / max(once, 1e-9)))
            return float(np.median(placed.run("--runs", runs, *quick).run_us))
