"""PruneConfig: how the weights to prune are found."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from prunemap.core.value import Value
from prunemap.errors import Problems

Method = Literal["reweighted", "gradual", "one_shot", "admm"]
METHODS: tuple[Method, ...] = ("reweighted", "gradual", "one_shot", "admm")
LAMBDAS: dict[Method, float] = {"reweighted": 1e-3, "admm": 1e-2, "gradual": 0.0, "one_shot": 0.0}
UPDATES: dict[Method, int] = {"reweighted": 12, "admm": 8, "gradual": 32, "one_shot": 1}


class PruneConfig(Value):
    """The method, its strength and its schedule; with neither density nor latency_ms each layer keeps the plan's."""

    method: Method = "reweighted"
    lam: float | None = Field(default=None, gt=0)
    """λ of the reweighted penalty, ρ of ADMM; None = what suits the optimizer, else what :data:`LAMBDAS` says."""
    steps: int = Field(default=1000, gt=0)
    """Optimizer steps of the pruning phase, over which the updates are spread."""
    updates: int | None = Field(default=None, gt=0)
    """How often the penalty or the masks are computed anew; None = what :data:`UPDATES` says."""
    density: float | None = Field(default=None, gt=0, le=1)
    """Kept / all MACs of the layers that the plan prunes: one threshold then gives every layer its own density."""
    latency_ms: float | None = Field(default=None, gt=0)
    """The same by predicted latency."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.density is not None and self.latency_ms is not None:
            problems.append("density and latency_ms: got both, allowed is one of them")
        if self.lam is not None and not LAMBDAS[self.method]:
            problems.append(f"lambda: got {self.lam:g}, but method {self.method} has no penalty")
        if self.updates is not None and self.method == "one_shot":
            problems.append(f"updates: got {self.updates}, but method one_shot has none")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def strength(self) -> float:
        """λ or ρ."""
        return LAMBDAS[self.method] if self.lam is None else self.lam

    @property
    def update_every(self) -> int:
        """Steps between two updates."""
        return max(1, self.steps // (self.updates or UPDATES[self.method]))

    @classmethod
    def of(cls, settings: dict[str, Any]) -> PruneConfig:
        """Return the config with these settings.

        Raises:
            UserError: one is unknown or not allowed; all such are listed.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            problems = Problems("pruning settings")
            for one in error.errors(include_url=False):
                where = ".".join(map(str, one["loc"]))
                said = one["msg"].removeprefix("Value error, ")
                problems.extend([f"{where}: got {one['input']!r}: {said}"] if where else said.splitlines())
            problems.raise_if_any()
            raise
