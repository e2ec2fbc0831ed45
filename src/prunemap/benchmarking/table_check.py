"""Is a latency table right? Held-out points and whole networks: predicted, and measured now.

The network is pruned by magnitude to the plans of PLANS, compiled and tuned, and timed in turns with the anchor.
Prediction and measurement are both divided by what the anchor took with them, so that a slower minute does not count
as an error.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from prunemap.benchmarking.compare import Effort, interleave, ratio
from prunemap.benchmarking.engines import Batch, LoadedEngine
from prunemap.compiler import Tuning, compile_model, identify, read_specs
from prunemap.compiler.cost import NodeCost, costs_of, read_costs
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.latency_table import LatencyTable, Machine
from prunemap.core.layer import GATES, LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.table import by_name, look_up
from prunemap.core.value import Value, now, read_json
from prunemap.devices import float_mode_kept, pinned
from prunemap.errors import UserError
from prunemap.latency import LocalTimer, PlanLatency, Predictor, compile_anchor
from prunemap.latency.check import PointCheck, check_densities, check_settings
from prunemap.mapping import Budget, map_model
from prunemap.runtime import Engine, Program, random_inputs
from prunemap.schemes import why_illegal

log = logging.getLogger(__name__)
Shapes = Mapping[str, tuple[int, ...]] | None
DENSITY = 0.2
"""Of what is pruned in the plans of PLANS."""
HELD_OUT = 40
"""Points that are measured."""
PUNCHED, PATTERN, UNSTRUCTURED = map(SchemeSpec.parse, ("punched:8x4", "pattern", "unstructured"))
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
) -> TableCheck:
    """Compare predictions of a table with new measurements: held-out points, and the models by every plan of PLANS.

    A plan whose schemes the table lacks is left out with a warning.

    Args:
        held_out: how many densities that the table does not have are measured.
        tune: whether the networks run with the tiles that are fastest in them, as ``compile`` has it.

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
        try:
            return check_network(model, table, timer, plan, shapes=shapes, effort=effort, seed=seed, tune=tune)
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
    model: str | Path,
    table: LatencyTable,
    timer: LocalTimer,
    plan: str,
    *,
    shapes: Shapes = None,
    effort: Effort | None = None,
    seed: int = 0,
    tune: bool = True,
) -> NetworkCheck:
    """Predict a network by a plan out of PLANS, then prune it by magnitude, compile it and time it.

    Raises:
        UserError: the plan is unknown, the model cannot be used, or the table lacks layers of it.
    """
    specs, graph_sha256 = read_specs(model, shapes), identify(model, shapes).sha256
    how = look_up(PLANS, plan, "plan")
    chosen = how.make(Path(model), specs, table, shapes)
    with TemporaryDirectory(prefix="prunemap-") as folder:
        pruned = Path(folder) / "pruned.onnx"
        write_pruned(model, chosen, pruned, shapes)
        predicted_us = 1e3 * PlanLatency(table, specs, chosen, graph_sha256=graph_sha256)(
            shares=shares_run(pruned, shapes)
        )
        tuning = Tuning(timer.threads) if tune else None
        program = compile_model(pruned, target=timer.target, shapes=shapes, cc=timer.cc, tune=tuning)
    network, slots, anchor, rounds = _time_beside_anchor(program, timer, effort or Effort(), seed)
    return NetworkCheck(
        network=Path(model).stem,
        plan=plan,
        predicted_us=predicted_us,
        measured_us=network * 1e6,
        slots_us=slots * 1e6,
        table_anchor_us=table.anchor_us,
        anchor_us=anchor * 1e6,
        rounds=rounds,
        asked_us=how.asked_us(specs, table),
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


MakePlan = Callable[[Path, Sequence[LayerSpec], LatencyTable, Shapes], Plan]


def _dense_plan(specs: Sequence[LayerSpec]) -> Plan:
    return Plan(layers=tuple(PlanLayer.of(spec, DENSE, 1.0) for spec in specs))


def _dense(_: Path, specs: Sequence[LayerSpec], __: LatencyTable, ___: Shapes) -> Plan:
    return _dense_plan(specs)


def _everywhere(*schemes: SchemeSpec) -> MakePlan:
    """Return the plan of a first scheme that a layer can have, in every layer that is usually pruned.

    A layer that was not measured with it has another block size of the same scheme: very large layers have few.
    """

    def make(_: Path, specs: Sequence[LayerSpec], table: LatencyTable, __: Shapes) -> Plan:
        predictor, kept = Predictor(table, [spec.setting for spec in specs]), _kept(specs)

        def entry(spec: LayerSpec) -> PlanLayer:
            legal = [scheme for scheme in schemes if why_illegal(scheme, spec.weight_shape, DENSITY) is None]
            if spec in kept or not legal:
                return PlanLayer.of(spec, DENSE, 1.0)
            measured = predictor.schemes(spec.setting) if spec.setting else ()
            alike = [scheme for scheme in measured if scheme.name == legal[0].name]
            return PlanLayer.of(spec, legal[0] if legal[0] in measured or not alike else alike[0], DENSITY)

        return Plan(layers=tuple(map(entry, specs)))

    return make


def _kept(specs: Sequence[LayerSpec]) -> list[LayerSpec]:
    """Return the layers that stay dense: depthwise ones, the first convolution, the last layer."""
    first = next((spec for spec in specs if spec.kind == "conv"), None)
    last = [spec for spec in specs[-1:] if spec.kind not in GATES]
    return [spec for spec in specs if spec.kind == "depthwise" or spec is first or spec in last]


def _rule(model: Path, _: Sequence[LayerSpec], table: LatencyTable, shapes: Shapes) -> Plan:
    return map_model(model, table, Budget(density=DENSITY), shapes=shapes).plan


def _in_time(model: Path, specs: Sequence[LayerSpec], table: LatencyTable, shapes: Shapes) -> Plan:
    return map_model(model, table, Budget(latency_ms=_half_us(specs, table) / 1e3), shapes=shapes).plan


def _half_us(specs: Sequence[LayerSpec], table: LatencyTable) -> float:
    """Return half of what the dense network is predicted to take."""
    return 1e3 * PlanLatency(table, specs, _dense_plan(specs))() / 2


def _not_asked(_: Sequence[LayerSpec], __: LatencyTable) -> None:
    return None


@dataclass(frozen=True)
class CheckedPlan:
    """A way to prune a network that predictions are checked on."""

    name: str
    make: MakePlan
    asked_us: Callable[[Sequence[LayerSpec], LatencyTable], float | None] = _not_asked
    """The latency budget, in microseconds."""


PLANS: dict[str, CheckedPlan] = by_name(
    (
        CheckedPlan("dense", _dense),
        CheckedPlan("punched", _everywhere(PUNCHED)),
        CheckedPlan("pattern", _everywhere(PATTERN, UNSTRUCTURED)),
        CheckedPlan("rules", _rule),
        CheckedPlan("budget", _in_time, _half_us),
    )
)
"""``punched``: 8x4 everywhere; ``pattern``: on 3x3, unstructured elsewhere; ``rules``: what ``map --density`` says;
``budget``: what ``map --latency-ms`` says, for half of the dense latency."""


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
