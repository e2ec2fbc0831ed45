"""What a Pruner costs a training: one step with it / the plain step, in turns, on the CPU.

A step is forward, backward and SGD on random images, in the precision that training takes here; the Pruner adds its
penalty, holds the zeros and, now and then, computes them anew: an update, timed apart and spread over the steps
between two (by default 1,000 steps have 12 of a reweighted penalty).

    .venv/bin/python benchmarks/step_cost.py [--threads N] [--only REGEX]
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import torch
from cifar10_rows import NETWORKS, Network
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import now
from prunemap.models import build_model
from prunemap.pruning import PruneConfig, Pruner, list_layers
from prunemap.pruning.prune_config import METHODS, Method
from prunemap.pruning.training.device import channels_last, uses_bfloat16
from prunemap.report.text import new_table, times

BAR = 1.15
SCHEME, DENSITY = SchemeSpec("punched", (8, 4)), 0.2
BATCH = 128
ROUNDS, QUICK_ROUNDS = 20, 5


class CostRow(Row):
    """A network and a method."""

    plain_ms: float
    """Median step without a Pruner."""
    over_plain: float
    """Median over the rounds of a step with it / the step without, the updates included."""
    update_ms: float
    update_every: int
    bar: float = BAR
    passed: bool
    rounds: int


def seconds_of(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


class Training:
    """A network that is trained on the same images again and again."""

    def __init__(self, network: Network, method: Method | None) -> None:
        self.module = build_model(network.model, (3, 32, 32), 10, network.options)
        self._images, self._labels = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
        self._images = self._images.to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(self.module.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
        self._bfloat16 = uses_bfloat16("auto", torch.device("cpu"))
        self.pruner = None if method is None else self._prune(method)

    def step(self) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bfloat16):
            outputs = self.module(self._images)
        loss: Tensor = cross_entropy(outputs.float(), self._labels)
        if self.pruner is not None:
            loss = loss + self.pruner.penalty()
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        if self.pruner is not None:
            self.pruner.hold()

    def update(self) -> None:
        """Compute penalty or masks anew."""
        assert self.pruner is not None, "a training without a Pruner has no updates"
        for _ in range(self.pruner.config.update_every):
            self.pruner.advance()

    def _prune(self, method: Method) -> Pruner:
        example = torch.zeros(1, 3, 32, 32)
        layers = list_layers(self.module, example)
        entries = [
            PlanLayer.of(layer, SCHEME, DENSITY) if layer.kind == "conv" else PlanLayer.of(layer, DENSE, 1.0)
            for layer in layers
        ]
        return Pruner(self.module, Plan(layers=tuple(entries)), example, optimizer=self._optimizer, method=method)


def measure(network: Network, method: Method, name: str, run: Run) -> CostRow:
    """Time both steps in turns."""
    torch.set_num_threads(run.threads)
    plain, pruned = Training(network, None), Training(network, method)
    rounds = QUICK_ROUNDS if run.quick else ROUNDS
    with channels_last(plain.module), channels_last(pruned.module):
        for training in (plain, pruned, plain, pruned):
            training.step()
        pairs = [(seconds_of(plain.step), seconds_of(pruned.step)) for _ in range(rounds)]
        update = statistics.median(seconds_of(pruned.update) for _ in range(3)) if method != "one_shot" else 0.0
    every = PruneConfig(method=method).update_every
    ratio = statistics.median((with_it + update / every) / without for without, with_it in pairs)
    return CostRow(
        name=name,
        plain_ms=1e3 * statistics.median(without for without, _ in pairs),
        over_plain=ratio,
        update_ms=1e3 * update,
        update_every=every,
        passed=ratio <= BAR,
        rounds=rounds,
        command=run.command,
        date=now(),
    )


def measurements() -> Mapping[str, Callable[[Run], CostRow]]:
    """Return what measures each row, by its name."""
    named = {f"{network.name} {method}": (network, method) for network, method in product(NETWORKS, METHODS)}
    return {name: partial(measure, network, method, name) for name, (network, method) in named.items()}


def print_result(result: Result[CostRow], console: Console) -> None:
    table = new_table(
        f"A training step with a Pruner ({SCHEME}, batch {BATCH})", "network, method", "plain, ms", "with", "bar", ""
    )
    for row in result.rows:
        verdict = "[green]PASS[/]" if row.passed else "[red]MISS[/]"
        table.add_row(row.name, f"{row.plain_ms:.0f}", times(row.over_plain), times(row.bar), verdict)
    console.print(table)


def main() -> None:
    warnings.simplefilter("ignore")  # of layers that keep one group, which is not what this is about
    run = Run.of(options_parser(__doc__, "resnet20").parse_args(), "step-cost")
    measure_rows(run, Result[CostRow], measurements(), print_result)


if __name__ == "__main__":
    main()
