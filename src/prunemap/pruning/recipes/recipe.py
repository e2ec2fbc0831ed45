"""Recipe: which network, pruned how, trained how long, on which data: one YAML file (recipes/schema.json)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import Value
from prunemap.pruning.prune_config import Method, PruneConfig
from prunemap.pruning.recipes.stage_files import PrunePhase
from prunemap.pruning.training.train_config import Schedule, TrainConfig


class Section(Value):
    """A part of a recipe; the docstrings of its fields are the descriptions in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class RecipeModel(Section):
    """The network."""

    name: str
    """Of the zoo, such as resnet50; or file.py:function, a function of your own that returns a module."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Such as {width: 0.5}; what your own function is called with, by name."""
    start: Path | None = None
    """Trained weights: a checkpoint of prunemap, or the state dict of the network as .safetensors, .pt or .pth."""


class RecipeData(Section):
    """The data set."""

    name: str = "fashion-mnist-subset"
    folder: Path | None = None
    """Where its files are; default: data/NAME."""
    download: bool = False
    """Download what is missing."""
    image_size: int = Field(default=224, gt=0)
    """Pixels per side of photographs (image-folder)."""


class LayerChoice(Section):
    """How a layer is pruned."""

    scheme: SchemeSpec
    """dense, unstructured, filter, column, pattern, punched:FxC or block:RxC."""
    density: float | None = Field(default=None, gt=0, le=1)
    """Kept / all weights; not with dense."""

    @model_validator(mode="after")
    def _density_where_pruned(self) -> Self:
        if self.scheme != DENSE and self.density is None:
            raise ValueError(f"density: missing, {self.scheme} needs one")
        if self.scheme == DENSE and self.density not in (None, 1):
            raise ValueError(f"density: got {self.density:g} with the scheme dense, allowed is none")
        return self


class LayerRule(LayerChoice):
    """How the layers are pruned that a pattern matches, and no pattern before it."""

    match: str
    """A name, a glob such as layer1.*, re:REGEX (the whole name), or a kind: conv, depthwise, linear, lstm, gru, …"""


class RecipePruning(Section):
    """How the weights to prune are found, before the retraining."""

    method: Method = "one_shot"
    lam: float | None = Field(default=None, gt=0, alias="lambda")
    """Strength of the penalty of reweighted or admm; default: what suits the learning rate."""
    updates: int | None = Field(default=None, gt=0)
    """How often the penalty or the masks are computed anew."""
    density: float | None = Field(default=None, gt=0, le=1)
    """MACs to keep of the layers to prune: one threshold for all of them instead of their own densities."""
    latency_ms: float | None = Field(default=None, gt=0)
    """The same by predicted latency, in milliseconds; needs latency."""
    latency: Path | None = None
    """latency.json of `prunemap profile`, which predicts."""
    training: Schedule | None = None
    """The training meanwhile; for all methods but one_shot."""
    reestimate_batchnorm: bool = False
    """Measure the statistics of batch norm again when the weights are pruned."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if (self.method == "one_shot") != (self.training is None):
            wanted = "allowed is none" if self.training else "it is missing"
            problems.append(f"training: {wanted} with method {self.method}")
        if (self.latency is None) != (self.latency_ms is None):
            problems.append("latency and latency_ms: got one of them; a budget needs the table that predicts it")
        if self.density is not None and self.latency_ms is not None:
            problems.append("density and latency_ms: got both, allowed is one of them")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Recipe(Section):
    """From a network to a pruned and retrained one, for every seed, beside a dense control if asked for."""

    model: RecipeModel
    data: RecipeData = RecipeData()
    plan: Path | None = None
    """plan.json of `prunemap map`; or say layers."""
    layers: tuple[LayerRule, ...] = ()
    """The first rule that matches a layer counts."""
    default: LayerChoice = LayerChoice(scheme=DENSE)
    """For layers that no rule matches."""
    dense: Schedule | None = None
    """The training of the dense network, from model.start if that is given, else from scratch."""
    prune: RecipePruning = RecipePruning()
    retrain: Schedule | None = None
    """The training of the pruned network, its zeros held."""
    control: bool = False
    """Train the dense network on for as many epochs, to compare with."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    output: Path | None = None
    """Folder for the results; -o overrides it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=0, ge=0)
    """0 = all cores."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if (self.plan is None) == (not self.layers):
            problems.append("plan and layers: allowed is exactly one of them")
        if self.model.start is None and self.dense is None:
            problems.append("model.start and dense: one is needed, trained weights or how to train them")
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            problems.append(f"seeds: got {list(self.seeds)}, allowed are different numbers from 0")
        if self.control and self.retrain is None and self.prune.training is None:
            problems.append("control: there is no training to compare with; add retrain, or prune.training")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def to_json(self) -> str:
        """Return the recipe as indented JSON, by the names that a recipe has, so that it can be read again."""
        return self.model_dump_json(indent=1, by_alias=True)

    def config(self, schedule: Schedule, seed: int) -> TrainConfig:
        """Return a schedule of this recipe with what it is run with."""
        return TrainConfig(**schedule.model_dump(), seed=seed, device=self.device)

    def phase(self, seed: int) -> PrunePhase:
        """Return how the weights to prune are found."""
        prune = self.prune
        return PrunePhase(
            config=PruneConfig(
                method=prune.method,
                lam=prune.lam,
                updates=prune.updates,
                density=prune.density,
                latency_ms=prune.latency_ms,
            ),
            latency=prune.latency,
            training=None if prune.training is None else self.config(prune.training, seed),
            reestimate_batchnorm=prune.reestimate_batchnorm,
        )
