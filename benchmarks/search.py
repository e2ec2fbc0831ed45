"""Search-based mapping against chance and Optuna: what it finds, what fast accuracies are worth, how fast it is.

Every part goes on where it was interrupted; rows that its file has are not measured again.

``table``: real evaluations of candidates around the budget, one line each (a journal of ``prunemap.mapping.search``).
Candidate number i keeps each choice of the plan by the rules with probability 0, 1/4, 1/2 or 3/4 and draws the others;
drawn anew until its latency is within half the budget of the budget.

``compare``: the searchers on a surrogate that is fitted to the table: its rank correlation on rows that it has not seen
is in the result. Five seeds, with and without the plan by the rules.

``retrain``: plans of the table, evenly spread over its accuracies, retrained in full: the rank correlation of fast
accuracy with that. ``--plan`` retrains plans of one's own beside.

``throughput``: evaluations per hour in this process, on one and on two Ray workers, one thread each.

    .venv/bin/python benchmarks/search.py PART --checkpoint C.safetensors --onnx M.onnx --latency latency.json \
        --latency-ms T --data image-folder --data-folder FOLDER -o FILE
"""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track
from surrogate import Surrogate, fit_surrogate, spearman

from prunemap.core.latency_table import Machine
from prunemap.core.plan import Plan
from prunemap.core.value import Value, read_json, write_json
from prunemap.datasets import Dataset, load_dataset
from prunemap.devices import read_machine
from prunemap.mapping import Budget
from prunemap.mapping.map_model import make_request
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import (
    SEARCHERS,
    Candidate,
    Evaluation,
    Job,
    Journal,
    JournalHeader,
    Objective,
    Pool,
    RayPool,
    ReinforceConfig,
    Rung,
    SearchConfig,
    SequentialPool,
    Space,
    make_space,
    plan_key,
)
from prunemap.plan_search import about
from prunemap.pruning import TrainConfig, load_checkpoint, prune_to_files, use_threads
from prunemap.pruning.fast_evaluate import FastConfig, FastEvaluator, make_fast_evaluator, rungs_to

SEEDS = range(5)
UNINFORMED = "reinforce, start uninformed"
COMPARED = ("random", "tpe", UNINFORMED, "reinforce")
KEPT = (0.0, 0.25, 0.5, 0.75)
WORK = Path("runs") / "search"


class Facts(Value):
    """What every result file begins with."""

    command: str
    date: str
    machine: Machine


class Compared(Value):
    """One searcher, seeded or not, over the seeds."""

    searcher: str
    seeded: bool
    best: tuple[float, ...]
    """Best reward of every seed."""
    mean: float
    standard_error: float
    curve: tuple[float, ...]
    """Mean over the seeds of the best reward so far, by evaluation."""


class Comparison(Facts):
    """Result of ``compare``."""

    table: str
    rows: int
    surrogate_rank_correlation: float
    surrogate_ceiling: float
    """The largest accuracy of the table: no prediction is above it."""
    evaluations: int
    rules_reward: float
    rows_best_reward: float
    """Of the table's own rows, as they were measured."""
    results: tuple[Compared, ...] = ()


class Retrained(Value):
    """One plan, retrained."""

    name: str
    latency_us: float
    fast_accuracy: float | None
    held_out_accuracy: float
    test_accuracy: float
    minutes: float


class Retraining(Facts):
    """Result of ``retrain``."""

    config: TrainConfig
    rank_correlation: float | None = None
    """Spearman's, of fast accuracy and held-out accuracy after retraining."""
    rows: tuple[Retrained, ...] = ()


class Throughput(Facts):
    """Result of ``throughput``: evaluations per hour by workers."""

    evaluations: int
    fast: FastConfig
    per_hour: dict[str, float]
    two_workers_over_one: float


class Setup:
    """What the options name, loaded when it is needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @cached_property
    def space(self) -> Space:
        request = make_request(self.options.onnx, self.options.latency, Budget(latency_ms=self.options.latency_ms))
        return make_space(request, Rules().map(request), SearchConfig())

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.options.data, self.options.data_folder)

    @cached_property
    def evaluator(self) -> FastEvaluator:
        use_threads(self.options.threads)
        module, _ = load_checkpoint(self.options.checkpoint)
        fast = FastConfig(rungs=rungs_to(self.options.steps), images=self.options.images)
        evaluator = make_fast_evaluator(module, self.dataset, fast, threads=self.options.threads)
        evaluator.check_plan(self.space.rules.plan)
        return evaluator

    def table(self) -> list[Evaluation]:
        """Return the rows of the table, whatever they were measured with."""
        lines = Path(self.options.table).read_text().splitlines()
        header = JournalHeader.model_validate_json(lines[0])
        journal = Journal.begin(self.options.table, header, resume=True)
        return [each for each in journal.evaluations if each.complete]

    def facts(self) -> dict[str, object]:
        return {
            "command": shlex.join(["python", *sys.argv]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": read_machine(),
        }


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
    known = {each.key for each in journal.evaluations}
    for number, candidate in enumerate(candidates(setup.space), start=1):
        if number > setup.options.rows:
            return
        plan = setup.space.plan(candidate)
        if (key := plan_key(plan)) in known:
            continue
        found = setup.evaluator(plan)
        latency_us, accuracy = setup.space.latency_us(candidate), found.rungs[-1].accuracy
        journal.append(
            Evaluation(
                key=key,
                candidate=candidate,
                rungs=found.rungs,
                complete=found.complete,
                latency_us=latency_us,
                seconds=found.seconds,
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )
        known.add(key)
        print(
            f"{number}/{setup.options.rows}  {accuracy:.2%} at {latency_us / 1e3:.3g} ms, {found.seconds:.0f} s",
            flush=True,
        )


def compare(setup: Setup) -> None:
    rows = setup.table()
    surrogate = fit_surrogate(setup.space, rows)
    objective = Objective(setup.space.budget_us, SearchConfig())
    print(f"surrogate of {len(rows)} rows, rank correlation of rows left out {surrogate.rank_correlation:.3f}")
    result = Comparison.model_validate(
        {
            **setup.facts(),
            "table": Path(setup.options.table).name,
            "rows": len(rows),
            "surrogate_rank_correlation": surrogate.rank_correlation,
            "surrogate_ceiling": surrogate.most,
            "evaluations": setup.options.evaluations,
            "rules_reward": surrogate(setup.space.first or ()),
            "rows_best_reward": max(objective.score(row).reward for row in rows),
        }
    )
    for seeded in (False, True):
        for name in COMPARED:
            curves = np.array([_search(setup, surrogate, name, seed, seeded) for seed in SEEDS])
            best = curves[:, -1]
            error = float(best.std(ddof=1) / np.sqrt(len(best)))
            compared = Compared(
                searcher=name,
                seeded=seeded,
                best=tuple(best.tolist()),
                mean=float(best.mean()),
                standard_error=error,
                curve=tuple(np.round(curves.mean(0), 5).tolist()),
            )
            result = result.model_copy(update={"results": (*result.results, compared)})
            write_json(setup.options.output, result)
            print(f"{'seeded' if seeded else 'unseeded'} {name}: {compared.mean:.4f} ± {error:.4f}", flush=True)


def _search(setup: Setup, surrogate: Surrogate, name: str, seed: int, seeded: bool) -> list[float]:
    """Return the best reward so far after every evaluation; candidates that come again cost nothing."""
    space = surrogate.space
    problem = space.problem if seeded else replace(space.problem, first=None)
    config = SearchConfig(seed=seed, seeded=seeded, reinforce=ReinforceConfig(informed=name != UNINFORMED))
    searcher = SEARCHERS["reinforce" if name == UNINFORMED else name].make(problem, config)
    objective, known, best = Objective(space.budget_us, SearchConfig()), dict[Candidate, Evaluation](), list[float]()
    for _ in range(20 * setup.options.evaluations):
        candidate = searcher.ask()
        if candidate not in known:
            known[candidate] = Evaluation(
                key="",
                candidate=candidate,
                rungs=(Rung(steps=0, accuracy=surrogate(candidate)),),
                complete=True,
                latency_us=space.latency_us(candidate),
                seconds=0.0,
            )
            reward = objective.score(known[candidate]).reward
            best.append(max(reward, best[-1]) if best else reward)
        searcher.tell(candidate, objective.score(known[candidate]))
        if len(best) == setup.options.evaluations:
            break
    return [*best, *[best[-1]] * (setup.options.evaluations - len(best))]


def retrain(setup: Setup) -> None:
    rows = sorted(setup.table(), key=lambda row: row.accuracy) if setup.options.table else []
    chosen = (
        {rows[i].key: rows[i] for i in np.linspace(0, len(rows) - 1, setup.options.plans).astype(int)} if rows else {}
    )
    config, output = TrainConfig(epochs=setup.options.epochs, lr=0.05), setup.options.output
    result = Retraining.model_validate({**setup.facts(), "config": config})
    if output.exists():
        result = read_json(output, Retraining, "result")
    own = {path.stem: read_json(path, Plan, "plan") for path in setup.options.plan}
    plans = {key[:12]: setup.space.plan(row.candidate) for key, row in chosen.items()} | own
    fast = {key[:12]: row for key, row in chosen.items()}
    for name, plan in plans.items():
        if name in {row.name for row in result.rows}:
            continue
        began = perf_counter()
        use_threads(setup.options.threads)
        checkpoint = WORK / f"{Path(setup.options.checkpoint).stem}-{name}-e{config.epochs}.safetensors"
        report = prune_to_files(setup.options.checkpoint, plan, setup.dataset, config, checkpoint, resume=True)
        assert report.history is not None
        row = Retrained(
            name=name,
            latency_us=fast[name].latency_us if name in fast else 0.0,
            fast_accuracy=fast[name].accuracy if name in fast else None,
            held_out_accuracy=report.history.epochs[-1].held_out_accuracy,
            test_accuracy=report.test_accuracy,
            minutes=round((perf_counter() - began) / 60, 2),
        )
        result = result.model_copy(update={"rows": (*result.rows, row)})
        pairs = [(r.fast_accuracy, r.held_out_accuracy) for r in result.rows if r.fast_accuracy is not None]
        if len(pairs) > 2:
            result = result.model_copy(update={"rank_correlation": spearman(*zip(*pairs, strict=True))})
        write_json(output, result)
        print(f"{name}: fast {row.fast_accuracy}, held out {row.held_out_accuracy:.2%}, test {row.test_accuracy:.2%}")


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


PARTS = {"table": table, "compare": compare, "retrain": retrain, "throughput": throughput}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--checkpoint", type=Path, help="of the dense network")
    parser.add_argument("--onnx", type=Path, required=True, help="the same network")
    parser.add_argument("--latency", type=Path, required=True, help="latency.json with its layers")
    parser.add_argument("--latency-ms", type=float, required=True, help="the budget")
    parser.add_argument("--data", default="image-folder")
    parser.add_argument("--data-folder", type=Path)
    parser.add_argument("--table", type=Path, help="compare, retrain: what `table` wrote")
    parser.add_argument("--rows", type=int, default=300, help="table: evaluations")
    parser.add_argument("--evaluations", type=int, default=100, help="compare, throughput")
    parser.add_argument("--plans", type=int, default=12, help="retrain: plans of the table")
    parser.add_argument("--plan", type=Path, nargs="*", default=[], help="retrain: other plans")
    parser.add_argument("--epochs", type=int, default=20, help="retrain")
    parser.add_argument("--steps", type=int, default=60, help="training steps of a fast evaluation")
    parser.add_argument("--images", type=int, default=2000, help="held-out images of a fast evaluation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    PARTS[options.part](Setup(options))


if __name__ == "__main__":
    main()
