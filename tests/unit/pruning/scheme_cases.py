"""Any scheme on any legal shape, for property tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import nn

from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.pruning import list_layers
from prunemap.schemes import SCHEMES

PRUNING = [name for name in SCHEMES if name != "dense"]


@dataclass(frozen=True)
class Case:
    """Two layers of one kind, one after the other, with one choice for both."""

    module: nn.Sequential
    example: torch.Tensor
    scheme: SchemeSpec
    density: float

    @property
    def plan(self) -> Plan:
        layers = list_layers(self.module, self.example)
        return Plan(layers=tuple(PlanLayer.of(layer, self.scheme, self.density) for layer in layers))


@st.composite
def cases(draw: st.DrawFn, names: list[str] = PRUNING) -> Case:
    scheme = SCHEMES[draw(st.sampled_from(names))]
    kernel = {"pattern": 3, "block": 1}.get(scheme.name, draw(st.sampled_from([1, 2, 3])))
    first, second = draw(st.integers(1, 9)), draw(st.integers(2, 13))
    groups = draw(st.sampled_from([1, 2])) if second % 2 == 0 else 1
    block = (draw(st.integers(1, 5)), draw(st.integers(1, 5))) if scheme.blocked else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 99)))
        if kernel == 1 and draw(st.booleans()):
            module, example = nn.Sequential(nn.Linear(first, second), nn.Linear(second, 6)), torch.randn(1, first)
        else:
            transposed = draw(st.booleans())
            later = (nn.ConvTranspose2d if transposed else nn.Conv2d)(second, 6, kernel, groups=groups)
            module = nn.Sequential(nn.Conv2d(first, second, kernel, padding=2), later)
            example = torch.randn(1, first, 5, 5)
    return Case(module, example, SchemeSpec(scheme.name, block), draw(st.floats(0.05, scheme.max_density)))
