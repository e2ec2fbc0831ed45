"""RecipeSummary: what a recipe reached, seed by seed and on average (summary.json)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from prunemap.core.value import Value
from prunemap.pruning.rates import PrunedRates


class SeedResult(Value):
    """One seed. Accuracies, on the test images, and what is kept are shares, 0 to 1."""

    seed: int
    dense: float
    """Accuracy of the network that was pruned."""
    control: float | None = None
    """Of that network trained on for as many epochs as the pruned one."""
    pruned: float
    macs_kept: float
    weights_kept: float

    @property
    def loss(self) -> float:
        """Accuracy lost, against the control where there is one."""
        return (self.dense if self.control is None else self.control) - self.pruned


class Spread(Value):
    """Mean and sample standard deviation over the seeds; None for a single one."""

    mean: float
    std: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return those of some values."""
        return cls(mean=fmean(values), std=stdev(values) if len(values) > 1 else None)


class RecipeSummary(Value):
    """What a recipe reached."""

    model: str
    dataset: str
    test_images: int
    seeds: tuple[SeedResult, ...]
    dense: Spread
    control: Spread | None
    pruned: Spread
    loss: Spread
    """Accuracy lost, against the control where there is one, seed by seed."""
    macs_kept: Spread
    weights_kept: Spread
    rates: PrunedRates
    """What every layer keeps, of the first seed."""


def summarise(
    model: str, dataset: str, test_images: int, seeds: Sequence[SeedResult], rates: PrunedRates
) -> RecipeSummary:
    """Return the summary of one seed or more, in order."""
    controls = [each.control for each in seeds if each.control is not None]
    return RecipeSummary(
        model=model,
        dataset=dataset,
        test_images=test_images,
        seeds=tuple(seeds),
        dense=Spread.of([each.dense for each in seeds]),
        control=Spread.of(controls) if controls else None,
        pruned=Spread.of([each.pruned for each in seeds]),
        loss=Spread.of([each.loss for each in seeds]),
        macs_kept=Spread.of([each.macs_kept for each in seeds]),
        weights_kept=Spread.of([each.weights_kept for each in seeds]),
        rates=rates,
    )
