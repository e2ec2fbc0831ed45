"""SearchConfig: everything that a search depends on beside network, data, table and budget."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from prunemap.core.value import Value


class ReinforceConfig(Value):
    """The policy and how it learns."""

    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)

    hidden: int = Field(default=32, gt=0)
    """Units of the GRU and of the layer that scores actions."""
    lr: float = Field(default=0.003, gt=0)
    """Of Adam, for what all layers share."""
    table_lr: float = Field(default=0.03, gt=0)
    """Of Adam, for the one number that every action of every layer has of its own."""
    batch: int = Field(default=8, gt=0)
    """Evaluations, the latest ones, that a gradient is taken of."""
    updates: int = Field(default=3, gt=0)
    """Gradient steps after every evaluation."""
    baseline_decay: float = Field(default=0.9, ge=0, lt=1)
    """Of the moving mean of the rewards, and of their moving spread."""
    clip: float = Field(default=2.0, gt=0)
    """Largest advantage, in spreads; a candidate far over budget would drown the others."""
    ratio_clip: float = Field(default=0.2, gt=0)
    """How far the probability of an action may move from what it was when it was proposed, as a share; evaluations are
    used again, and beyond that they say nothing more."""
    entropy: float = Field(default=0.1, ge=0)
    """Weight of the entropy bonus at the start, in spreads of the reward per nat and decision."""
    explore: int = Field(default=100, gt=0)
    """Evaluations over which that falls to zero in a straight line."""
    elites: int = Field(default=4, ge=0)
    """The best so far, whose probability is raised with every step, beside the policy gradient."""
    imitation: float = Field(default=0.2, ge=0)
    """Weight of that."""
    informed: bool = True
    """Whether the policy starts at what is known of latency and energy; else with all actions alike."""
    temperature: float = Field(default=0.05, gt=0)
    """Of the start: an action that keeps so much more energy at the same latency is e times as probable."""
    warm_start: float = Field(default=0.8, gt=0, lt=1)
    """Probability that each action of the rule plan has at the start."""


class SearchConfig(Value):
    """How a search goes."""

    model_config = ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False)

    searcher: str = "reinforce"
    """A row of SEARCHERS."""
    evaluations: int = Field(default=60, gt=0)
    """Candidates that are trained and measured."""
    seed: int = Field(default=0, ge=0)
    """The same seed, the same sequence, while evaluations come one at a time."""
    seeded: bool = True
    """Whether the rule plan is the first candidate, and its choices are among the actions."""
    penalty: float = Field(default=2.0, ge=0)
    """Accuracy that a latency of twice the budget costs."""
    densities: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.6)
    """Density steps that each scheme can be had at."""
    slack: float = Field(default=0.1, ge=0)
    """An action is left out if another one of the layer is so much faster, as a share, and keeps no less energy."""
    keep: float = Field(default=0.5, gt=0, le=1)
    """Share of the candidates that goes on after each rung of the fast evaluation; 1 stops none early."""
    stop_after: int = Field(default=6, ge=1)
    """Candidates that must have reached a rung before one is stopped there."""
    finalists: int = Field(default=5, ge=0)
    """The best candidates, beside the rule plan, that are evaluated once more before one is taken; 0 = none is."""
    population: int = Field(default=16, gt=1)
    """Of nsga2."""
    reinforce: ReinforceConfig = ReinforceConfig()
