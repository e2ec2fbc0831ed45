"""Policy: a small recurrent network that reads the layers in order and emits an action for each.

A GRU reads the features of the layer, those of the action taken before, and the share of the latency budget that is
spent by then. The logit of an action is a small network of the GRU's state and the action's features (what all layers
share), plus one number of its own (what is special to this layer). The first starts at zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunemap.mapping.search.problem import Problem


class Unrolled(NamedTuple):
    """Candidates and what the policy thinks of them."""

    candidates: Tensor
    """Chosen actions, int64 (B, n); 0 where a decision has no effect."""
    log_probability: Tensor
    """Of every action given those before it, (B, n); 0 where a decision has no effect."""
    entropy: Tensor
    """Mean over the decisions in nats, (B)."""
    probabilities: Tensor
    """Of every action given those before it, (B, n, largest size)."""


class Policy(nn.Module):
    """P(candidate) = Π P(action i | actions before i)."""

    decisions: Tensor
    actions: Tensor
    costs: Tensor
    legal: Tensor

    def __init__(self, problem: Problem, hidden: int) -> None:
        super().__init__()
        self._overruled_by = problem.overruled_by
        count, largest, features = problem.actions.shape
        self.register_buffer("decisions", torch.from_numpy(problem.decisions))
        self.register_buffer("actions", torch.from_numpy(problem.actions))
        self.register_buffer("costs", torch.from_numpy(problem.costs))
        self.register_buffer("legal", torch.arange(largest) < torch.tensor(problem.sizes)[:, None])
        self.cell = nn.GRUCell(self.decisions.shape[1] + features + 1, hidden)
        self.score = nn.Sequential(nn.Linear(hidden + features, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        for parameter in self.score[2].parameters():
            nn.init.zeros_(parameter)
        self.table = nn.Parameter(torch.zeros(count, largest))

    def forward(self, given: Tensor) -> Unrolled:
        """Return what the policy thinks of candidates (B, n)."""
        return self._unroll(len(given), given, None)

    def sample(self, count: int, generator: torch.Generator) -> Unrolled:
        """Draw candidates."""
        with torch.no_grad():
            return self._unroll(count, None, generator)

    def _unroll(self, count: int, given: Tensor | None, generator: torch.Generator | None) -> Unrolled:
        state = torch.zeros(count, self.cell.hidden_size)
        before, spent = torch.zeros(count, self.actions.shape[-1]), torch.zeros(count, 1)
        chosen, picked, entropies, shown = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
        for i, by in enumerate(self._overruled_by):
            counts = torch.ones(count, dtype=torch.bool) if by is None else chosen[by] == 0
            state = self.cell(torch.cat([self.decisions[i].expand(count, -1), before, spent], 1), state)
            log_p = self._log_probabilities(i, state)
            p = log_p.exp()
            action = torch.multinomial(p, 1, generator=generator)[:, 0] if given is None else given[:, i]
            action = torch.where(counts, action, 0)
            before = torch.where(counts[:, None], self.actions[i, action], 0.0)
            spent = spent + torch.where(counts, self.costs[i, action], 0.0)[:, None]
            chosen.append(action)
            picked.append(torch.where(counts, log_p.gather(1, action[:, None])[:, 0], 0.0))
            entropies.append(torch.where(counts, -(p * log_p.clamp(min=-1e9)).sum(1), 0.0))
            shown.append(p)
        return Unrolled(
            torch.stack(chosen, 1),
            torch.stack(picked, 1),
            torch.stack(entropies, 1).mean(1),
            torch.stack(shown, 1).detach(),
        )

    def _log_probabilities(self, decision: int, state: Tensor) -> Tensor:
        """Return log P of every action, (B, largest size); −1e9 or less where there is none."""
        actions = self.actions[decision].expand(len(state), -1, -1)
        seen = torch.cat([state[:, None].expand(-1, actions.shape[1], -1), actions], 2)
        logits: Tensor = self.score(seen)[..., 0] + self.table[decision]
        return logits.masked_fill(~self.legal[decision], -1e9).log_softmax(1)
