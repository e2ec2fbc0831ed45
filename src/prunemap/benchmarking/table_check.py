"""Is a latency table right? Held-out points and whole networks: predicted, and measured now.

The network is pruned by magnitude to the plans of PLANS, compiled and tuned, and timed in turns with the anchor.
Prediction and measurement are both divided by what the anchor took with them, so that a slower minute does not count
as an error.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from prunemap.benchmarking.checked_plans import PLANS, Predicted
from prunemap.benchmarking.compare import Effort, interleave, ratio
from prunemap.benchmarking.engines import Batch, LoadedEngine
from prunemap.compiler import Tuning, compile_model
from prunemap.compiler.cost import NodeCost, costs_of, read_costs
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.latency_table import LatencyTable, Machine
from prunemap.core.scheme_spec import DENSE
from prunemap.core.table import look_up
from prunemap.core.value import Value, now, read_json
from prunemap.devices import float_mode_kept, pinned
from prunemap.errors import UserError
from prunemap.latency import LocalTimer, compile_anchor
from prunemap.latency.check import PointCheck, check_densities, check_settings
from prunemap.runtime import Engine, Program, random_inputs

log = logging.getLogger(__name__)
Shapes = Mapping[str, tuple[int, ...]] | None
HELD_OUT = 40
"""Points that are measured."""
SUBJECT, SLOTS, ANCHOR_ENGINE = "network", "slots", "anchor"


class NetworkCheck(Value):
    """A whole network by a plan: predicted and measured, in microseconds, with the anchor's time for each."""

    network: str
    plan: str
    predicted_us: float
    measured_us: float
    slots_us: float
    """The sum of the medians of its slots: what the same runs take without what interrupts them."""
    table_anchor_us: float | None
    """What the anchor took when the table was measured; None for a table without anchors."""
    anchor_us: float
    """What it took with the network."""
    rounds: int
    asked_us: float | None = None
    """The latency budget of the plan, if it has one."""

    @property
    def error(self) -> float:
        """predicted / measured − 1, both in anchors."""
        return self.predicted_us / (self.table_anchor_us or self.anchor_us) / (self.measured_us / self.anchor_us) - 1

    @property
    def over_budget(self) -> float | None:
        """measured / asked for − 1, both in anchors."""
        if self.asked_us is None:
            return None
        return self.measured_us / self.anchor_us / (self.asked_us / (self.table_anchor_us or self.anchor_us)) - 1


class TableCheck(Value):
    """How far the predictions of a table are off."""

    machine: Machine
    threads: int
    date: str
    densities: tuple[PointCheck, ...] = ()
    """Held-out densities, measured."""
    settings: tuple[PointCheck, ...] = ()
    """Every setting of the table, estimated from the others."""
    networks: tuple[NetworkCheck, ...] = ()


def check_table(
    models: Sequence[str | Path],
    table: LatencyTable | str | Path,
    timer: LocalTimer,
    *,
    shapes: Shapes = None,
    held_out: int = HELD_OUT,
    effort: Effort | None = None,
    seed: int = 0,
    tune: bool = True,
    estimate: bool = False,
) -> TableCheck:
    """Compare predictions of a table with new measurements: held-out points, and the models by every plan of PLANS.

    A plan whose schemes the table lacks is left out with a warning.

    Args:
        held_out: how many densities that the table does not have are measured.
        tune: whether the networks run with the tiles that are fastest in them, as ``compile`` has it.
        estimate: whether layers of the models that the table lacks are estimated from others of their kind.

    Raises:
        UserError: the table is damaged, of another machine, or lacks layers of a model.
    """
    if not isinstance(table, LatencyTable):
        table = read_json(table, LatencyTable, "latency table")
    machine = timer.machine()
    if (table.machine, table.threads) != (machine, timer.threads):
        raise UserError(
            f"latency table: it is of {table.machine.cpu}, {table.machine.target}, {table.machine.compiler}, threads "
            f"{table.threads}; here is {machine.cpu}, {machine.target}, {machine.compiler}, threads {timer.threads}: "
            "check it where it was measured"
        )

    def check(model: str | Path, plan: str) -> NetworkCheck | None:
        network = Predicted(Path(model), table, shapes, estimate)
        try:
            return check_network(network, timer, plan, effort=effort, seed=seed, tune=tune)
        except UserError as error:
            if plan == DENSE.name:  # then the model or its layers are the problem
                raise
            log.warning("%s is not checked as %s: %s", model, plan, error)
            return None

    return TableCheck(
        machine=machine,
        threads=timer.threads,
        date=now(),
        networks=tuple(found for model in models for plan in PLANS if (found := check(model, plan)) is not None),
        densities=tuple(check_densities(table, timer, held_out, seed)),
        settings=tuple(check_settings(table)),
    )


def check_network(
    network: Predicted,
    timer: LocalTimer,
    plan: str,
    *,
    effort: Effort | None = None,
    seed: int = 0,
    tune: bool = True,
) -> NetworkCheck:
    """Predict a network by a plan out of PLANS, then prune it by magnitude, compile it and time it.

    Raises:
        UserError: the plan is unknown, the model cannot be used, or the table lacks layers of it.
    """
    how, model, shapes = look_up(PLANS, plan, "plan"), network.model, network.shapes
    chosen = how.make(network)
    with TemporaryDirectory(prefix="prunemap-") as folder:
        pruned = Path(folder) / "pruned.onnx"
        write_pruned(model, chosen, pruned, shapes)
        predicted_us = 1e3 * network.plan_latency(chosen)(shares=shares_run(pruned, shapes))
        tuning = Tuning(timer.threads) if tune else None
        program = compile_model(pruned, target=timer.target, shapes=shapes, cc=timer.cc, tune=tuning)
    measured, slots, anchor, rounds = _time_beside_anchor(program, timer, effort or Effort(), seed)
    return NetworkCheck(
        network=model.stem,
        plan=plan,
        predicted_us=predicted_us,
        measured_us=measured * 1e6,
        slots_us=slots * 1e6,
        table_anchor_us=network.table.anchor_us,
        anchor_us=anchor * 1e6,
        rounds=rounds,
        asked_us=how.asked_us(network) if how.asked_us else None,
    )


def shares_run(model: str | Path, shapes: Shapes = None) -> dict[str, float]:
    """Return, by layer, the kept multiply-accumulates that a program runs / all kept ones.

    The others read channels that pruning made constant, or make some that nobody reads: the compiler drops them.
    """
    run, kept = (
        _macs_by_layer(costs) for costs in (read_costs(model, shapes), costs_of(import_graph(read_onnx(model, shapes))))
    )
    return {name: run.get(name, 0) / macs for name, macs in kept.items() if macs}


def _macs_by_layer(costs: Mapping[str, NodeCost]) -> Counter[str]:
    macs: Counter[str] = Counter()
    for slot, cost in costs.items():
        macs[onnx_name(slot)] += cost.macs
    return macs


class _Timed(LoadedEngine):
    """One of our programs, on inputs of its own."""

    def __init__(self, program: Program, threads: int, seed: int) -> None:
        self._engine = Engine(program, threads)
        self._inputs = random_inputs(program.manifest.inputs, seed)
        self.version = f"prunemap {program.manifest.prunemap}"

    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        return self._engine.time_runs(self._inputs, runs)

    def close(self) -> None:
        self._engine.close()


class _TimedSlots(_Timed):
    """The same, timed slot by slot."""

    def __init__(self, program: Program, threads: int, seed: int) -> None:
        super().__init__(program, threads, seed)
        self._medians: list[NDArray[np.float64]] = []

    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        seconds = self._engine.time_slots(self._inputs, runs)
        self._medians.append(np.median(seconds, axis=0))
        return np.asarray(seconds.sum(axis=1))

    def sum_of_medians(self, rounds: int) -> float:
        """Return the sum over the slots of their median seconds in the last rounds."""
        return float(np.median(self._medians[-rounds:], axis=0).sum())


@float_mode_kept()
def _time_beside_anchor(
    program: Program, timer: LocalTimer, effort: Effort, seed: int
) -> tuple[float, float, float, int]:
    """Return seconds in rounds, and how many: the network, the sum over its slots, and the anchor.

    The anchor's is the median; the network's is as many anchors as it takes in the median round, so that rounds in
    which the machine was slower count alike.
    """
    threads = timer.threads
    with pinned(threads), ExitStack() as stack:
        slots = stack.enter_context(_TimedSlots(program, threads, seed))
        engines: dict[str, LoadedEngine] = {
            SUBJECT: stack.enter_context(_Timed(program, threads, seed)),
            SLOTS: slots,
            ANCHOR_ENGINE: stack.enter_context(_Timed(compile_anchor(timer.target, timer.cc), threads, seed)),
        }
        samples = interleave(engines, {}, effort)
    rounds = len(samples[ANCHOR_ENGINE].seconds)
    anchor = float(np.median(samples[ANCHOR_ENGINE].seconds))
    return anchor * ratio(samples[SUBJECT], samples[ANCHOR_ENGINE]), slots.sum_of_medians(rounds), anchor, rounds
