"""``retrain`` of search.py: plans of a table, and others, retrained in full, to see what fast accuracies are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from search_setup import Facts, Setup, evenly_spread
from surrogate import spearman

from prunemap.core.plan import Plan
from prunemap.core.value import Value, read_json, write_json
from prunemap.latency import PlanLatency
from prunemap.mapping.search import plan_key
from prunemap.pruning import TrainConfig, prune_to_files, use_threads

WORK = Path("runs") / "search"
LEAST_PLANS = 3
"""That a rank correlation is of."""


class Retrained(Value):
    """One plan, retrained with one seed."""

    key: str
    """Of the plan's choices."""
    name: str
    """The file that it came in; "" for one of the table."""
    seed: int
    latency_us: float
    """Predicted."""
    fast_accuracy: float | None
    held_out_accuracy: float
    test_accuracy: float
    minutes: float


class Ranking(Value):
    """Spearman's rank correlations of fast accuracy, over plans, each the mean of its seeds."""

    plans: int
    held_out: float
    """With held-out accuracy after retraining."""
    test: float
    """With test accuracy."""


class Retraining(Facts):
    """Result of ``retrain``."""

    config: TrainConfig
    """But for the seed."""
    ranking: Ranking | None = None
    top_half: Ranking | None = None
    """Of the better half by fast accuracy: what a search chooses among."""
    rows: tuple[Retrained, ...] = ()


def retrain(setup: Setup) -> None:
    table = setup.table() if setup.options.table else []
    config, output = TrainConfig(epochs=setup.options.epochs, lr=0.05), setup.options.output
    result = Retraining.model_validate({**setup.facts(), "config": config})
    if output.exists():
        result = read_json(output, Retraining, "result")
        if result.config != config:
            raise SystemExit(f"-o: {output} was trained otherwise (--epochs); name another file, or delete it")
    ranked = sorted(table, key=lambda row: row.accuracy)
    plans = {row.key: ("", setup.space.plan(row.candidate)) for row in evenly_spread(ranked, setup.options.plans)}
    for path in setup.options.plan:
        plan = read_json(path, Plan, "plan")
        plans[plan_key(plan)] = (path.stem, plan)
    fast = {row.key: row.accuracy for row in table}
    for seed in range(setup.options.seeds):
        for key, (name, plan) in plans.items():
            if (key, seed) not in {(row.key, row.seed) for row in result.rows}:
                row = _row(setup, plan, config.model_copy(update={"seed": seed}), name, fast.get(key))
                result = with_rankings(result.model_copy(update={"rows": (*result.rows, row)}))
                write_json(output, result)
                said = f"fast {row.fast_accuracy}, held out {row.held_out_accuracy:.2%}, test {row.test_accuracy:.2%}"
                print(f"{name or key[:12]}, seed {seed}: {said}", flush=True)


def _row(setup: Setup, plan: Plan, config: TrainConfig, name: str, fast_accuracy: float | None) -> Retrained:
    began, key = perf_counter(), plan_key(plan)
    use_threads(setup.options.threads)
    stem = f"{Path(setup.options.checkpoint).stem}-{key[:12]}-e{config.epochs}-s{config.seed}"
    report = prune_to_files(
        setup.options.checkpoint, plan, setup.dataset, config, WORK / f"{stem}.safetensors", resume=True
    )
    assert report.history is not None
    specs = [layer.spec for layer in setup.request.layers]
    return Retrained(
        key=key,
        name=name,
        seed=config.seed,
        latency_us=1e3 * PlanLatency(setup.request.table, specs, plan)(),
        fast_accuracy=fast_accuracy,
        held_out_accuracy=report.history.epochs[-1].held_out_accuracy,
        test_accuracy=report.test_accuracy,
        minutes=round((perf_counter() - began) / 60, 2),
    )


def with_rankings(result: Retraining) -> Retraining:
    """Return the result with the correlations of its rows."""
    of_plan: dict[str, list[Retrained]] = {}
    for row in result.rows:
        if row.fast_accuracy is not None:
            of_plan.setdefault(row.key, []).append(row)
    ranked = sorted(of_plan.values(), key=lambda rows: rows[0].fast_accuracy or 0.0)
    return result.model_copy(update={"ranking": _ranking(ranked), "top_half": _ranking(ranked[len(ranked) // 2 :])})


def _ranking(plans: Sequence[Sequence[Retrained]]) -> Ranking | None:
    if len(plans) < LEAST_PLANS:
        return None
    fast = [rows[0].fast_accuracy or 0.0 for rows in plans]
    held_out, test = (
        [float(np.mean([getattr(row, name) for row in rows])) for rows in plans]
        for name in ("held_out_accuracy", "test_accuracy")
    )
    return Ranking(plans=len(plans), held_out=spearman(fast, held_out), test=spearman(fast, test))
