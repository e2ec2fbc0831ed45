"""The rows of cifar10.py: networks, and the ways in which each goes on from its dense network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSpec
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.mapping import Budget
from prunemap.pruning.prune_config import Method
from prunemap.schemes import SCHEMES as SCHEME_TABLE


@dataclass(frozen=True)
class Pruning:
    """What is pruned how far: convolutions of one kernel size; depthwise ones and the first stay dense."""

    kernel_size: int
    scheme: str
    densities: Mapping[int, float]
    """Side of the output map → density."""

    def density(self, layer: LayerSpec) -> float:
        assert layer.setting is not None, "a convolution has a setting"
        return self.densities[layer.setting.out_size[0]]


@dataclass(frozen=True)
class ByRules:
    """Pruned by the plan of the rules."""

    budget: Budget
    beta: float | None = None
    scheme: str = ""
    """The one that they may choose beside dense; "" = what the table has."""

    def allowed(self, table: LatencyTable) -> LatencyTable:
        """Return the table with what they may choose."""
        points = [point for point in table.points if not self.scheme or str(point.scheme) in (self.scheme, DENSE.name)]
        return table.model_copy(update={"points": tuple(points)})


@dataclass(frozen=True)
class Way:
    """How a row goes on from the dense network; without ``pruning`` it is a control."""

    name: str
    epochs: int
    pruning: Pruning | ByRules | None = None
    method: Method = "one_shot"
    prune_epochs: int = 0
    """Of ``epochs``, those in which the weights to prune are found."""
    density: float | None = None
    """Of the MACs that may be pruned, by one threshold over all layers; None = each layer as ``pruning`` says."""
    distillation: float = 0.0


@dataclass(frozen=True)
class Network:
    """A network of the zoo, how it is trained and how it goes on."""

    name: str
    model: str
    ways: tuple[Way, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    epochs: int = 100


SCHEMES = ("unstructured", *(f"punched:{size}" for size in ("2x1", "4x1", "4x4", "8x4", "16x8")), "pattern", "filter")
MACS = (0.7, 0.4, 0.2)
"""Of the dense network's; accuracy half a point below the control is between them, or between the first and 1."""
RIVALS = ("unstructured", "pattern", "punched:8x4")
BETAS = (0.0, 0.05, 0.1, 0.5)
"""Beside the default."""
ENERGIES = (0.9, 0.8, 0.7)
"""Least mean share of the weights' energy."""
VGG16 = {32: 0.43, 16: 0.27, 8: 0.165, 4: 0.10, 2: 0.062}
"""Weights ≥ 10x and multiply-accumulates ≥ 5x fewer. Trained layers lose alike shares of energy at alike densities, so
density follows cost: the layers on large maps have the multiply-accumulates, those on small maps the weights."""


def one_shot(pruning: Pruning, epochs: int) -> tuple[Way, ...]:
    """Return the ways of the long runs: the control and one-shot pruning."""
    return (Way("control", epochs), Way("pruned", epochs, pruning))


def methods(pruning: Pruning, density: float | None, epochs: int = 12, prune_epochs: int = 5) -> tuple[Way, ...]:
    """Return the ways that compare the methods at equal density and equal epochs, their control first."""
    shared = Way("one_shot", epochs, pruning, density=density)
    reweighted = replace(shared, name="reweighted", method="reweighted", prune_epochs=prune_epochs)
    return (
        Way(f"control{epochs}", epochs),
        reweighted,
        shared,
        replace(reweighted, name="gradual", method="gradual"),
        replace(reweighted, name="distilled", distillation=0.7),
    )


def regularities(epochs: int) -> tuple[Way, ...]:
    """Return the ways that compare the schemes at equal MACs, pruned by magnitude in one shot, their control first.

    A scheme alone has one density in every layer, so that nothing but the scheme differs. Beside it stand the rules:
    for the same budgets of MACs, once with every beta, and for budgets of energy (``rules_energy``); and each rival of
    theirs with the densities that the rules give it (``allocated``), so that nothing but the choice of schemes differs
    from them.
    """
    pruned = []
    for macs, scheme in product(MACS, SCHEMES):
        own = _own_density(scheme, macs)
        if own > SCHEME_TABLE[SchemeSpec.parse(scheme).name].max_density:
            continue
        densities = dict.fromkeys(VGG16, own)
        pruned.append(Way(f"{scheme.replace(':', '')}@{macs}", epochs, Pruning(3, scheme, densities)))
    budgets = {macs: Budget(density=macs) for macs in MACS}
    rules = [Way(f"rules@{macs}", epochs, ByRules(budget)) for macs, budget in budgets.items()]
    weighed = [Way(f"rules_energy@{each}", epochs, ByRules(Budget(keep_energy=each))) for each in ENERGIES]
    rivals = [
        Way(f"{scheme.replace(':', '')}_allocated@{macs}", epochs, ByRules(budgets[macs], scheme=scheme))
        for macs, scheme in product(MACS, RIVALS)
    ]
    betas = [
        Way(f"rules_beta{beta:g}@{macs}", epochs, ByRules(budgets[macs], beta))
        for macs, beta in product(MACS[1:], BETAS)
    ]
    return (Way(f"control{epochs}", epochs), *pruned, *rules, *weighed, *rivals, *betas)


def _own_density(scheme: str, macs: float) -> float:
    """Return the density of every layer that leaves so many MACs; filters take channels of the next layer too."""
    return round(macs**0.5, 3) if scheme == "filter" else macs


RESNET20 = Pruning(3, "punched:4x1", dict.fromkeys((32, 16, 8), 0.385))
HALF = Pruning(3, "punched:4x1", VGG16)
NETWORKS = (
    Network(
        "resnet20",
        "resnet20",
        (*one_shot(replace(RESNET20, scheme="punched:8x1"), 36), *methods(RESNET20, 0.385), *regularities(4)),
        seeds=(0, 1, 2),
    ),
    Network(
        "vgg16-half",
        "vgg16-cifar",
        (*one_shot(replace(HALF, scheme="punched:8x4"), 36), *methods(HALF, None), *regularities(2)),
        {"width": 0.5},
    ),
    Network("vgg16", "vgg16-cifar", one_shot(Pruning(3, "punched:8x4", VGG16), 36)),
    Network(
        "mobilenetv2",
        "mobilenetv2-cifar",
        one_shot(Pruning(1, "punched:8x1", dict.fromkeys((32, 16, 8, 4), 0.325)), 30),
        epochs=70,
    ),
)
