"""The plans that the predictions of a latency table are checked on: a network dense, and pruned in some ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prunemap.compiler import identify, read_specs
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import GATES, LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.table import by_name
from prunemap.latency import PlanLatency, Predictor
from prunemap.mapping import Budget, map_model
from prunemap.schemes import why_illegal

DENSITY = 0.2
"""Of what is pruned in the plans of PLANS."""
PUNCHED, PATTERN, UNSTRUCTURED = map(SchemeSpec.parse, ("punched:8x4", "pattern", "unstructured"))


@dataclass(frozen=True)
class Predicted:
    """A network and the table that is to predict it; a UserError is raised once something of either does not do."""

    model: Path
    table: LatencyTable
    shapes: Mapping[str, tuple[int, ...]] | None = None
    estimate: bool = False
    """Whether layers that the table lacks are estimated from others of their kind."""

    @cached_property
    def specs(self) -> tuple[LayerSpec, ...]:
        return tuple(read_specs(self.model, self.shapes))

    def plan_latency(self, plan: Plan) -> PlanLatency:
        """Return what predicts the network by a plan."""
        sha256 = identify(self.model, self.shapes).sha256
        return PlanLatency(self.table, self.specs, plan, graph_sha256=sha256, estimate=self.estimate)

    @property
    def half_us(self) -> float:
        """Half of what the dense network is predicted to take, in microseconds."""
        return 1e3 * self.plan_latency(_dense(self))() / 2

    def mapped(self, budget: Budget) -> Plan:
        """Return the plan of the rules."""
        return map_model(self.model, self.table, budget, shapes=self.shapes, estimate=self.estimate).plan


MakePlan = Callable[[Predicted], Plan]


def _dense(network: Predicted) -> Plan:
    return Plan(layers=tuple(PlanLayer.of(spec, DENSE, 1.0) for spec in network.specs))


def _everywhere(*schemes: SchemeSpec) -> MakePlan:
    """Return the plan of a first scheme that a layer can have, in every layer that is usually pruned.

    A layer that was not measured with it has another block size of the same scheme: very large layers have few.
    """

    def make(network: Predicted) -> Plan:
        predictor, kept = Predictor(network.table, estimate=network.estimate), _kept(network.specs)

        def entry(spec: LayerSpec) -> PlanLayer:
            legal = [scheme for scheme in schemes if why_illegal(scheme, spec.weight_shape, DENSITY) is None]
            if spec in kept or not legal:
                return PlanLayer.of(spec, DENSE, 1.0)
            measured = predictor.schemes(spec.setting) if spec.setting else ()
            alike = [scheme for scheme in measured if scheme.name == legal[0].name]
            return PlanLayer.of(spec, legal[0] if legal[0] in measured or not alike else alike[0], DENSITY)

        return Plan(layers=tuple(map(entry, network.specs)))

    return make


def _kept(specs: tuple[LayerSpec, ...]) -> list[LayerSpec]:
    """Return the layers that stay dense: depthwise ones, the first convolution, the last layer."""
    first = next((spec for spec in specs if spec.kind == "conv"), None)
    last = [spec for spec in specs[-1:] if spec.kind not in GATES]
    return [spec for spec in specs if spec.kind == "depthwise" or spec is first or spec in last]


def _rule(network: Predicted) -> Plan:
    return network.mapped(Budget(density=DENSITY))


def _in_time(network: Predicted) -> Plan:
    return network.mapped(Budget(latency_ms=network.half_us / 1e3))


@dataclass(frozen=True)
class CheckedPlan:
    """A way to prune a network that predictions are checked on."""

    name: str
    make: MakePlan
    asked_us: Callable[[Predicted], float] | None = None
    """The latency budget, in microseconds, if it has one."""


PLANS: dict[str, CheckedPlan] = by_name(
    (
        CheckedPlan("dense", _dense),
        CheckedPlan("punched", _everywhere(PUNCHED)),
        CheckedPlan("pattern", _everywhere(PATTERN, UNSTRUCTURED)),
        CheckedPlan("rules", _rule),
        CheckedPlan("budget", _in_time, lambda network: network.half_us),
    )
)
"""``punched``: 8x4 everywhere; ``pattern``: on 3x3, unstructured elsewhere; ``rules``: what ``map --density`` says;
``budget``: what ``map --latency-ms`` says, for half of the dense latency."""
