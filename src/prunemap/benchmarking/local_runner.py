"""LocalRunner: measures plans on this machine, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from prunemap.compiler import Tuning, compile_model
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.plan import Plan
from prunemap.devices import pinned
from prunemap.runtime import Engine, random_inputs
from prunemap.targets import NATIVE

WARM_UP_RUNS, MEASURED_SECONDS, LEAST_RUNS = 10, 0.5, 30


@dataclass(frozen=True)
class LocalRunner:
    """Prunes the network by a plan in one shot, compiles it, and times it, pinned.

    What else the machine does is in the times: train elsewhere meanwhile, or one candidate after the other.
    """

    model: Path
    threads: int = 1
    target: str = NATIVE
    shapes: Mapping[str, tuple[int, ...]] | None = None
    cc: str | None = None
    """C compiler; None = ``zig cc``."""
    name: str = "local"

    def latency_us(self, plan: Plan) -> float:
        """Return the median time of a run.

        Raises:
            UserError: the model cannot be compiled.
        """
        with TemporaryDirectory() as folder:
            pruned = Path(folder) / "candidate.onnx"
            write_pruned(self.model, plan, pruned, self.shapes)
            tuning = Tuning(self.threads)
            program = compile_model(pruned, target=self.target, shapes=self.shapes, cc=self.cc, tune=tuning)
        with pinned(self.threads), Engine(program, self.threads) as engine:
            inputs = random_inputs(engine.inputs)
            once = float(np.median(engine.time_runs(inputs, WARM_UP_RUNS)))
            runs = max(LEAST_RUNS, ceil(MEASURED_SECONDS / once))
            return float(np.median(engine.time_runs(inputs, runs))) * 1e6
