"""ADMM: weights are drawn towards the nearest pruned ones. Source: Zhang et al. (ECCV 2018), as in PatDNN (2020).

    loss + ρ/2 · Σ_l ‖W_l − Z_l + U_l‖²,    at each update Z_l = Π_l(W_l + U_l), U_l = U_l + W_l − Z_l

Π sets to zero what the plan prunes of its argument; between updates Z and U are frozen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prunemap.pruning.selection import Selection

TARGET, DUAL = "target.", "dual."


class Admm:
    """The penalty; its state is U (``dual``) and Z − U (``target``) of every weight."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.state: dict[str, Tensor] = {}
        for name, value in selection.values().items():
            self.state[DUAL + name] = torch.zeros_like(value, dtype=torch.float32)
            self.state[TARGET + name] = torch.empty_like(value, dtype=torch.float32)
        self.update()

    def update(self) -> None:
        """Compute Z and U anew, in place."""
        values = self._selection.values()
        moved = {name: value.float() + self.state[DUAL + name] for name, value in values.items()}
        for name, mask in self._selection.masks(moved).items():
            projected = moved[name] * mask
            self.state[DUAL + name].copy_(moved[name] - projected)
            self.state[TARGET + name].copy_(projected - self.state[DUAL + name])

    def penalty(self) -> Tensor:
        """Return 1/2 · Σ ‖W − Z + U‖²."""
        return 0.5 * torch.stack([self._of(name) for name in self._selection.weights]).sum()

    def _of(self, name: str) -> Tensor:
        return (self._selection.weights[name].parameter.float() - self.state[TARGET + name]).square().sum()
