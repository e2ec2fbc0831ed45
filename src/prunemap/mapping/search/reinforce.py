"""reinforce: policy-gradient reinforcement learning with a moving baseline and an entropy bonus that fades.

After every evaluation the policy takes a few steps up along the gradient of

    mean over the latest of min(r A, clip(r, 1 ± ε) A)   +   entropy · H   +   imitation · mean over the elites of log P

with A = (R − b) / s, b and s the moving mean and spread of the rewards R (REINFORCE: Williams, 1992), and r the
probability of an action now / when it was proposed: evaluations are dear and used in many steps, and the clipped ratio
(PPO: Schulman et al., 2017, https://arxiv.org/abs/1707.06347) keeps each from being followed further than it tells.
log P, r and H are per decision. The last term raises the best candidates so far, as in priority queue training
(Abolafia et al., 2018, https://arxiv.org/abs/1801.03526): with some dozens of evaluations the gradient alone forgets
them. What was evaluated is not proposed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import log

import torch
from torch import Tensor

from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Scored
from prunemap.mapping.search.policy import Policy, Unrolled
from prunemap.mapping.search.problem import Candidate, Problem
from prunemap.mapping.search.searcher import Probabilities
from prunemap.mapping.search.start import start_logits

DRAWN = 32
"""Candidates drawn at once, of which the first new one is proposed."""
DRAWS = 8
"""So often; then the policy has nothing new to say."""
WARM_STEPS, WARM_LR = 300, 0.05
SHOWN = 256
"""Candidates drawn to say how probable actions are."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: more make a network so small slower, and round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Reinforce:
    """The policy and its memory."""

    @one_thread()
    def __init__(self, problem: Problem, config: SearchConfig) -> None:
        self._config, self._problem = config.reinforce, problem
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._policy = Policy(problem, self._config.hidden)
        if self._config.informed:
            logits = start_logits(problem, self._config.temperature)
            self._policy.table.data = torch.from_numpy(logits).float()
        self._generator = torch.Generator().manual_seed(config.seed)
        self._told: list[tuple[Candidate, float]] = []
        self._asked: dict[Candidate, Tensor] = {}
        self._mean, self._square = 0.0, 0.0
        self._first = problem.first
        if problem.first is not None:
            self._warm_up(problem.first)
        table = self._policy.table
        shared = [parameter for parameter in self._policy.parameters() if parameter is not table]
        groups = [{"params": shared, "lr": self._config.lr}, {"params": [table], "lr": self._config.table_lr}]
        self._optimizer = torch.optim.Adam(groups)

    @one_thread()
    def ask(self) -> Candidate:
        first, self._first = self._first, None
        if first is None:
            candidate, log_probability = self._draw()
        else:
            candidate, log_probability = first, self._policy(torch.tensor([first])).log_probability[0].detach()
        self._asked.setdefault(candidate, log_probability)
        return candidate

    @one_thread()
    def tell(self, candidate: Candidate, scored: Scored) -> None:
        self._told.append((candidate, scored.reward))
        self._follow(scored.reward)
        if len(self._told) < 2:
            return  # one reward alone says nothing
        for _ in range(self._config.updates):
            self._optimizer.zero_grad()
            torch.autograd.backward(self._loss())
            self._optimizer.step()

    @one_thread()
    def learnt(self) -> Probabilities | None:
        mean = self._policy.sample(SHOWN, torch.Generator().manual_seed(0)).probabilities.mean(0)
        return tuple(tuple(row[:size].tolist()) for row, size in zip(mean, self._problem.sizes, strict=True))

    def _draw(self) -> tuple[Candidate, Tensor]:
        """Return a candidate, a new one if there is one, with the log probability of each of its actions."""
        for _ in range(DRAWS):
            seen = self._policy.sample(DRAWN, self._generator)
            drawn = [tuple(row) for row in seen.candidates.tolist()]
            new = next((i for i, candidate in enumerate(drawn) if candidate not in self._asked), None)
            if new is not None:
                return drawn[new], seen.log_probability[new]
        return drawn[0], seen.log_probability[0]

    def _best(self) -> list[tuple[Candidate, float]]:
        """Return the best so far, none twice."""
        return sorted(dict(self._told).items(), key=lambda each: -each[1])[: self._config.elites]

    def _follow(self, reward: float) -> None:
        """Move mean and mean square of the rewards; at first they are plain means."""
        count = len(self._told)
        decay = min(self._config.baseline_decay, 1 - 1 / count)
        self._mean = decay * self._mean + (1 - decay) * reward
        self._square = decay * self._square + (1 - decay) * reward**2

    def _loss(self) -> Tensor:
        """Return what the step goes down along; see the top of the file."""
        config, elites = self._config, self._best()
        latest = self._told[-config.batch :]
        seen: Unrolled = self._policy(torch.tensor([candidate for candidate, _ in latest + elites]))
        spread = max(self._square - self._mean**2, 1e-12) ** 0.5
        rewards = torch.tensor([reward for _, reward in latest])
        advantages = ((rewards - self._mean) / spread).clamp(-config.clip, config.clip)[:, None]
        before = torch.stack([self._asked[candidate] for candidate, _ in latest])
        ratios = (seen.log_probability[: len(latest)] - before).exp()
        trusted = ratios.clamp(1 - config.ratio_clip, 1 + config.ratio_clip)
        gain: Tensor = torch.minimum(ratios * advantages, trusted * advantages).mean()
        entropy = config.entropy * max(0.0, 1 - len(self._told) / config.explore)
        gain = gain + entropy * seen.entropy[: len(latest)].mean()
        if elites:
            gain = gain + config.imitation * seen.log_probability[len(latest) :].mean()
        return -gain

    def _warm_up(self, first: Candidate) -> None:
        """Make the actions of the first candidate as probable as ``warm_start`` says."""
        counting = sum(by is None or not first[by] for by in self._problem.overruled_by)
        wanted, one = counting * log(self._config.warm_start), torch.tensor([first])
        optimizer = torch.optim.Adam([self._policy.table], WARM_LR)
        for _ in range(WARM_STEPS):
            seen: Unrolled = self._policy(one)
            found = seen.log_probability[0].sum()
            if found >= wanted:
                return
            optimizer.zero_grad()
            torch.autograd.backward(-found)
            optimizer.step()
