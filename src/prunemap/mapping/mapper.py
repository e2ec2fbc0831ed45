"""What goes into a mapper and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from prunemap.compiler import ModelLayer
from prunemap.core.latency_table import LatencyTable
from prunemap.core.plan import ModelIdentity, Plan
from prunemap.core.value import Value
from prunemap.core.wiring import Wiring
from prunemap.errors import UserError
from prunemap.latency import NetworkLatency, Predictor, probe_settings
from prunemap.mapping.decision import Decision
from prunemap.mapping.fixed import why_fixed
from prunemap.mapping.importance import EQUAL, Importance

DEFAULT_BETA = 0.2


@dataclass(frozen=True)
class Budget:
    """What the plan must meet: exactly one of the three.

    Raises:
        UserError: none or several given, or a value out of range.
    """

    density: float | None = None
    """Kept MACs over all MACs of the prunable layers, in (0, 1]."""
    latency_ms: float | None = None
    """Predicted latency of all layers that the table models, in milliseconds."""
    keep_energy: float | None = None
    """Least mean over the prunable layers of Σ kept w² / Σ w², in (0, 1]; the plan is the fastest that keeps it. Layers
    that read lost filters count as losing, too (:class:`~prunemap.mapping.network_energy.NetworkEnergy`); with a
    sensitivity file layers count by their importance."""

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            got = ", ".join(given) or "none"
            raise UserError(f"budget: got {got}, allowed is exactly one of density, latency_ms and keep_energy")
        ((name, value),) = given.items()
        if name == "latency_ms" and not value > 0:
            raise UserError(f"latency_ms: got {value:g}, allowed are values above 0")
        if name != "latency_ms" and not 0 < value <= 1:
            raise UserError(f"{name}: got {value:g}, allowed are values in (0, 1]")


@dataclass(frozen=True)
class MapRequest:
    """The network, the device and the budget.

    Raises:
        UserError: a negative beta.
    """

    layers: Sequence[ModelLayer]
    """Every weight-carrying layer in graph order."""
    table: LatencyTable
    budget: Budget
    beta: float | None = None
    """A scheme is a candidate while its latency is within (1 + beta) of coarse structured pruning; a harder data set
    asks for a larger beta. None = DEFAULT_BETA for a budget of density, no limit for one of latency or energy, where
    speed and energy are weighed anyway."""
    importance: Importance = EQUAL
    """How much the lost energy of every layer matters; from a sensitivity analysis."""
    wiring: Wiring = field(default_factory=Wiring)
    """Which layers share one choice of ``filter``, and which read fewer channels then; by default none do."""
    model: ModelIdentity = field(default_factory=ModelIdentity)
    graph_sha256: str = ""
    """Of the network's graph, which tells it from others with such layers; "" = not known."""
    estimate: bool = False
    """Whether layers that the table lacks are estimated from others of their kind."""
    ignore: Sequence[str] = ()
    """Patterns of layers that stay dense."""

    def __post_init__(self) -> None:
        if self.beta is not None and not self.beta >= 0:
            raise UserError(f"beta: got {self.beta:g}, allowed are values from 0")

    @cached_property
    def fixed(self) -> Mapping[str, str]:
        """Why layers stay dense whatever the device, by name.

        Raises:
            UserError: a pattern to ignore matches no layer.
        """
        return why_fixed(self.layers, self.ignore)

    def network(self, predictor: Predictor) -> NetworkLatency:
        """Return what predicts the latency of the whole network."""
        return NetworkLatency(predictor, [layer.spec for layer in self.layers], self.wiring)

    def predictor(self) -> Predictor:
        """Return what predicts latencies of layers inside this network.

        Raises:
            UserError: the table lacks layers of it.
        """
        settings = [layer.spec.setting for layer in self.layers]
        predictor = Predictor(self.table, settings, graph_sha256=self.graph_sha256, estimate=self.estimate)
        predictor.require(probe_settings(settings))
        return predictor


class MapResult(Value):
    """A plan with what it is predicted to cost.

    Latencies cover the layers that the table models and, where it has the network, what lies between them. Layers
    behind filters that are lost read fewer channels.
    """

    plan: Plan
    latency_us: float
    dense_latency_us: float
    density: float
    """Kept MACs over all MACs of the prunable layers."""
    weights_kept: float
    """Kept weights over all weights of the prunable layers."""
    energy_kept: float
    """Mean over the prunable layers of Σ kept w² / Σ w²; layers that read lost filters lose, too."""
    decisions: tuple[Decision, ...] = ()
    """Of every layer in the order of the plan: what else it could have had, and why it did not."""


def mean_of(values: Sequence[float], weights: Sequence[int]) -> float:
    """Return the mean over the prunable layers; 1 where there are none: nothing was pruned."""
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights) if weights else 1.0


class BudgetError(UserError):
    """The budget cannot be met by this way of choosing; another may meet it."""


class Mapper(Protocol):
    """A way to choose the scheme and the density of every layer."""

    @property
    def name(self) -> str: ...

    def map(self, request: MapRequest) -> MapResult:
        """Return the plan.

        Raises:
            UserError: the table lacks layers, or the budget cannot be met; the message says what could be.
        """
