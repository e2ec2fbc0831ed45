"""Search-based mapping against random search and Optuna: what it finds, what fast accuracies are worth, how fast it is.

``table``, ``again`` and ``retrain`` go on where they were interrupted: rows that their file has are not measured again.

``table``: real evaluations of candidates around the budget, one line each (a journal of ``prunemap.mapping.search``).
Candidate number i keeps each choice of the plan by the rules with probability 0, 1/4, 1/2 or 3/4 and draws the others;
drawn anew until its latency is within half the budget of the budget.

``compare``: the searchers on a surrogate of every rung that is fitted to the table, hopeless candidates stopped and
finalists looked at again as in a search. Every evaluation has as much noise as ``again`` found; the winners are ranked
by what they are worth without it, too. Five seeds, with and without the plan by the rules, whose choices are not among
the actions then.

``again``: second looks at plans of the better half of the table, on other batches and other images: how far evaluations
of one plan differ.

``retrain``: plans of the table, evenly spread over its accuracies, retrained in full, ``--seeds`` times each: the rank
correlations of fast accuracy with held-out and test accuracy after that, over all plans and within the better half.
``--plan`` retrains plans of one's own beside.

``throughput``: evaluations per hour in this process, on one and on two Ray workers, one thread each.

    .venv/bin/python benchmarks/search.py PART --checkpoint C.safetensors --onnx M.onnx --latency latency.json \
        --latency-ms T --data image-folder --data-folder FOLDER -o FILE
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track
from search_again import again
from search_compare import compare
from search_retrain import retrain
from search_setup import Facts, Setup

from prunemap.core.value import write_json
from prunemap.mapping.search import (
    Candidate,
    Evaluation,
    Job,
    Journal,
    JournalHeader,
    Pool,
    RayPool,
    SearchConfig,
    SequentialPool,
    Space,
    plan_key,
)
from prunemap.plan_search import about
from prunemap.pruning.fast_evaluate import FastConfig

KEPT = (0.0, 0.25, 0.5, 0.75)


class Throughput(Facts):
    """Result of ``throughput``: evaluations per hour by workers."""

    evaluations: int
    fast: FastConfig
    per_hour: dict[str, float]
    two_workers_over_one: float


def candidates(space: Space) -> Iterator[Candidate]:
    """Yield the plan by the rules, then the others in their order; none twice."""
    seen: set[Candidate] = set()
    assert space.first is not None
    yield space.first
    for number in range(1, 100_000):
        rng = np.random.default_rng(number)
        for _ in range(1000):
            keep = rng.random(len(space.decisions)) < rng.choice(KEPT)
            drawn = [int(rng.integers(size)) for size in space.problem.sizes]
            candidate = space.problem.canonical(
                tuple(f if k else d for f, k, d in zip(space.first, keep, drawn, strict=True))
            )
            if 0.5 <= space.latency_us(candidate) / space.budget_us <= 1.5 and candidate not in seen:
                seen.add(candidate)
                yield candidate
                break


def table(setup: Setup) -> None:
    header = JournalHeader(about=about(setup.space, setup.evaluator), config=SearchConfig())
    journal = Journal.begin(setup.options.output, header, resume=True)
    wanted = list(islice(candidates(setup.space), setup.options.rows))
    plans = {plan_key(plan): (candidate, plan) for candidate in wanted for plan in [setup.space.plan(candidate)]}
    known = {each.key for each in journal.evaluations}
    missing = {key: pair for key, pair in plans.items() if key not in known}
    workers = setup.options.workers
    with RayPool(setup.evaluator, workers) if workers > 1 else SequentialPool(setup.evaluator) as pool:
        for key, (_, plan) in missing.items():
            pool.submit(Job(key, plan, ()))
        for number in range(len(plans) - len(missing) + 1, len(plans) + 1):
            done = pool.wait()
            assert done is not None, "one waits as long as it takes"
            key, found = done
            candidate = missing[key][0]
            latency_us = setup.space.latency_us(candidate)
            journal.append(Evaluation.of(key, candidate, latency_us, found))
            accuracy = found.rungs[-1].accuracy
            print(
                f"{number}/{len(plans)}  {accuracy:.2%} at {latency_us / 1e3:.3g} ms, {found.seconds:.0f} s",
                flush=True,
            )


def throughput(setup: Setup) -> None:
    count, evaluator = setup.options.evaluations, setup.evaluator
    plans = [setup.space.plan(each) for each, _ in zip(candidates(setup.space), range(count), strict=False)]
    jobs = [Job(plan_key(plan), plan, ()) for plan in plans]
    pools: dict[str, Callable[[], Pool]] = {
        "in this process": lambda: SequentialPool(evaluator),
        "1 worker": lambda: RayPool(evaluator, 1),
        "2 workers": lambda: RayPool(evaluator, 2),
    }
    per_hour = {}
    for name, make in pools.items():
        with make() as pool:
            for job in jobs[: pool.workers]:  # workers start, and import what they need
                pool.submit(job)
            for _ in jobs[: pool.workers]:
                pool.wait()
            began = perf_counter()
            for job in jobs:
                pool.submit(job)
            for _ in track(jobs, name, console=Console(stderr=True)):
                pool.wait()
            per_hour[name] = 3600 * count / (perf_counter() - began)
        print(f"{name}: {per_hour[name]:.0f} evaluations per hour", flush=True)
    result = Throughput.model_validate(
        {
            **setup.facts(),
            "evaluations": count,
            "fast": evaluator.config,
            "per_hour": per_hour,
            "two_workers_over_one": per_hour["2 workers"] / per_hour["1 worker"],
        }
    )
    write_json(setup.options.output, result)


PARTS = {"table": table, "again": again, "compare": compare, "retrain": retrain, "throughput": throughput}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--checkpoint", type=Path, help="of the dense network")
    parser.add_argument("--onnx", type=Path, required=True, help="the same network")
    parser.add_argument("--latency", type=Path, required=True, help="latency.json with its layers")
    parser.add_argument("--latency-ms", type=float, required=True, help="the budget")
    parser.add_argument("--data", default="image-folder")
    parser.add_argument("--data-folder", type=Path)
    parser.add_argument("--table", type=Path, help="again, compare, retrain: what `table` wrote")
    parser.add_argument("--again", type=Path, help="compare: what `again` wrote")
    parser.add_argument("--rows", type=int, default=300, help="table: evaluations")
    parser.add_argument("--workers", type=int, default=1, help="table: Ray workers, one thread each")
    parser.add_argument("--evaluations", type=int, default=100, help="compare, throughput")
    parser.add_argument("--plans", type=int, default=12, help="again, retrain: plans of the table")
    parser.add_argument("--plan", type=Path, nargs="*", default=[], help="retrain: other plans")
    parser.add_argument("--epochs", type=int, default=20, help="retrain")
    parser.add_argument("--seeds", type=int, default=1, help="retrain: trainings of every plan")
    parser.add_argument("--steps", type=int, default=60, help="training steps of a fast evaluation")
    parser.add_argument("--images", type=int, default=2000, help="held-out images of a fast evaluation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    PARTS[options.part](Setup(options))


if __name__ == "__main__":
    main()
