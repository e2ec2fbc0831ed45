"""How strong the groups of a weight are, by the layer's own scheme: what is penalised, and what is pruned first.

With m_g the mean square of group g and s_l the mean of m_g over the layer, r_g = m_g / s_l is the *relative strength*
of the group: 1 is average, whatever the layer, the size of its blocks or the scale of its weights.

- Most schemes: the groups of the scheme's view.
- ``block``: row segments and column segments, so every weight is in two groups.
- ``pattern``: of every 3x3 kernel the four weights of its best pattern (connectivity), and the five others.

Weights here are as schemes see them, (O, I/groups, …); everything returned has the shape of the weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.pruning.masks import TORCH
from prunemap.schemes import scheme_of
from prunemap.schemes.pattern import pattern_table

EPS = 1e-3
"""Keeps the push on a group of zeros finite: at most 1/EPS times that on an average group."""
_SEGMENTS = {"block": ((-1,), (-2,))}
_WHOLE = ((-2, -1),)
"""Axes of the view's members (…, filters, channels) along which the weights of a group lie."""


def relative_strengths(weight: Tensor, scheme: SchemeSpec) -> tuple[Tensor, ...]:
    """Return for every weight r_g of its group, once per group that it is in."""
    values = weight.detach().float()
    if scheme.name == "pattern":
        return (_pattern_strength(values, _best_pattern(values)),)
    view = scheme_of(scheme, weight.shape).view(weight.shape, scheme)
    squares, real = view.apply(values.square(), TORCH), view.apply(torch.ones_like(values), TORCH)
    spread = []
    for axes in _SEGMENTS.get(scheme.name, _WHOLE):
        sizes = real.sum(axes, keepdim=True)
        means = squares.sum(axes, keepdim=True) / sizes.clamp(min=1)  # of padding only: 0
        relative = _relative(means, (sizes > 0).sum())
        spread.append(view.restore(relative.expand(squares.shape), weight.shape, TORCH))
    return tuple(spread)


def coefficients(relative: tuple[Tensor, ...]) -> Tensor:
    """Return a_g = s_l / (m_g + ε·s_l) = 1 / (r_g + ε) for every weight: the mean over the groups that it is in."""
    return torch.stack([1 / (r + EPS) for r in relative]).mean(0)


def survival(weight: Tensor, scheme: SchemeSpec, relative: tuple[Tensor, ...]) -> Tensor:
    """Return the threshold τ up to which a weight is kept: r of its weakest group; −1 = never kept."""
    weakest = torch.stack(relative).amin(0)
    if scheme.name == "pattern":
        return torch.where(_best_pattern(weight.detach().float()), weakest, -1.0)
    return weakest


def _relative(means: Tensor, count: Tensor | int) -> Tensor:
    return means / (means.sum() / count).clamp(min=torch.finfo(means.dtype).tiny)


def _best_pattern(weight: Tensor) -> Tensor:
    """Return where the best pattern of each kernel is: the one with the largest L2 norm."""
    table = torch.from_numpy(pattern_table()).to(weight.device)
    norms = weight.square().reshape(-1, 9).double() @ table.T.double()
    return table[norms.argmax(-1)].reshape(weight.shape)


def _pattern_strength(weight: Tensor, inside: Tensor) -> Tensor:
    squares, within = weight.square().reshape(-1, 9), inside.reshape(-1, 9)
    means = torch.stack([(squares * ~within).sum(-1) / 5, (squares * within).sum(-1) / 4], dim=1)
    return _relative(means, means.numel()).gather(1, within.long()).reshape(weight.shape)
