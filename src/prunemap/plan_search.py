"""Search for a plan: the candidates of mapping.search, trained and measured by pruning, here or on several workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prunemap.core.files import check_writable
from prunemap.core.lock import locked
from prunemap.core.table import look_up
from prunemap.core.value import write_json
from prunemap.devices import read_machine
from prunemap.errors import UserError
from prunemap.mapping.mapper import BudgetError, MapRequest, MapResult
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import (
    SEARCHERS,
    Evaluation,
    Journal,
    JournalHeader,
    Objective,
    OnEvaluation,
    Pool,
    RayPool,
    Runner,
    RunnerPool,
    Search,
    SearchConfig,
    SearchRecord,
    SequentialPool,
    Space,
    make_space,
)
from prunemap.mapping.search.runners import THIS_MACHINE
from prunemap.pruning.fast_evaluate import FastEvaluator
from prunemap.pruning.sensitivity import images_sha256
from prunemap.pruning.training.run_state import start_sha256
from prunemap.pruning.training.tensorboard import append_scalars, begin_events
from prunemap.targets import NATIVE

EVENTS_NAME = "events.out.tfevents.search"


@dataclass(frozen=True)
class SearchFiles:
    """The files beside a plan: of plan.json they are search.json, search.jsonl and events in search/."""

    plan: Path

    @property
    def record(self) -> Path:
        """How the search went."""
        return self.plan.with_name(f"{self._stem}.json")

    @property
    def journal(self) -> Path:
        """Every evaluation, as it came."""
        return self.plan.with_name(f"{self._stem}.jsonl")

    @property
    def events(self) -> Path:
        """The curves for TensorBoard."""
        return self.plan.with_name(self._stem) / EVENTS_NAME

    @property
    def _stem(self) -> str:
        return "search" if self.plan.stem == "plan" else f"{self.plan.stem}-search"


@dataclass(frozen=True)
class Workers:
    """Where candidates are evaluated."""

    count: int = 1
    ray: str = ""
    """Address of a Ray cluster; "" = this machine."""

    def pool(self, evaluator: FastEvaluator) -> Pool:
        """Return the pool.

        Raises:
            UserError: see :class:`RayPool`, or there are to be less than one.
        """
        if self.count < 1:
            raise UserError(f"--workers: got {self.count}, allowed is 1 or more")
        if self.count == 1 and not self.ray:
            return SequentialPool(evaluator)
        return RayPool(evaluator, self.count, self.ray, evaluator.threads)


ONE_WORKER = Workers()


@dataclass(frozen=True)
class Searched:
    """What a search ends with."""

    result: MapResult
    record: SearchRecord


def search_plan(
    request: MapRequest,
    evaluator: FastEvaluator,
    output: str | Path,
    *,
    config: SearchConfig,
    workers: Workers = ONE_WORKER,
    resume: bool = False,
    runners: tuple[Runner, ...] = (),
    command: str = "",
    say: OnEvaluation | None = None,
) -> Searched:
    """Search for the most accurate plan within a latency budget, and write it, its journal, record and curves.

    Args:
        evaluator: of the trained dense network that the request was made of.
        output: plan.json; see :class:`SearchFiles` for the files beside it.
        resume: go on with the journal if there is one; what it has is taken into account, however few evaluations are
            asked for, so that 1 ends a search with what it found.
        runners: measure every candidate on one of these instead of taking its latency from the table.
        command: what the user typed, for the record.
        say: told of every evaluation, second looks too.

    Raises:
        UserError: the budget is none of latency or impossible, the table lacks layers, the network of the evaluator is
            another, the journal is of another search or in use by one, or the workers cannot be had.
    """
    files = SearchFiles(Path(output))
    entry = look_up(SEARCHERS, config.searcher, "searcher")
    space = space_of(request, config, measured=bool(runners))
    evaluator.check_plan(space.plan((0,) * len(space.decisions)))
    check_writable(files.plan)
    header = JournalHeader(about=about(space, evaluator, runners), config=config)
    searcher = entry.make(space.problem, config)
    with locked(files.journal, wait=False), workers.pool(evaluator) as pool:
        journal = Journal.begin(files.journal, header, resume=resume)
        most = config.model_copy(update={"evaluations": max(config.evaluations, len(journal.evaluations))})
        search = Search(space, most, searcher, pool, journal, RunnerPool(runners) if runners else None)
        curves = _Curves(files.events, search.objective)

        def told(number: int, evaluation: Evaluation, reward: float) -> None:
            if not evaluation.second_look:
                curves.add(number, evaluation, reward)
            if say is not None:
                say(number, evaluation, reward)

        search.run(told)
    dense_accuracy, other_images = evaluator.dense_accuracy(), evaluator.other_images
    record = search.record(dense_accuracy=dense_accuracy, other_images=other_images, command=command)
    write_json(files.record, record)
    result = search.result()
    write_json(files.plan, result.plan)
    return Searched(result, record)


def space_of(request: MapRequest, config: SearchConfig, *, measured: bool = False) -> Space:
    """Return the space of a search; rules that cannot meet the budget only matter where it begins with their plan.

    Args:
        measured: whether latencies are to be measured: then what the table predicts does not decide what is possible.

    Raises:
        BudgetError: the budget cannot be met, or not by the plan that the search is to begin with.
    """
    try:
        return make_space(request, Rules().map(request), config)
    except BudgetError as error:
        space = make_space(request, None, config)
        if not measured and space.least_us > space.budget_us:
            least = f"the least possible with this table is {space.least_us / 1e3 * 1.0005:.4g}"
            raise BudgetError(f"latency_ms: got {space.budget_us / 1e3:g}, {least}, by a search too") from None
        if config.seeded:
            raise BudgetError(
                f"{error}; a search can run all the same without the plan by the rules: --unseeded"
            ) from None
        return space


class _Curves:
    """The curves of a search for TensorBoard, written anew at the start; a resumed search says all of it again."""

    def __init__(self, path: Path, objective: Objective) -> None:
        self._path, self._objective, self._done = path, objective, list[Evaluation]()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            begin_events(path)
        except OSError as error:
            raise UserError(f"output: cannot write {path}: {error.strerror or error}") from None

    def add(self, number: int, evaluation: Evaluation, reward: float) -> None:
        self._done.append(evaluation)
        scalars = {"reward": reward, "accuracy": evaluation.accuracy, "latency_ms": evaluation.latency_us / 1e3}
        best = self._objective.best(self._done)
        if best is not None:
            scalars["best_reward"] = self._objective.score(best).reward
        at = datetime.fromisoformat(evaluation.finished).timestamp()
        curves = {f"search/{name}": value for name, value in scalars.items()}
        try:
            append_scalars(self._path, curves, step=number, wall_time=at)
        except OSError as error:
            raise UserError(
                f"output: cannot write {self._path}: {error.strerror or error}; what was finished is kept, and "
                "--resume goes on once it can be written"
            ) from None


def about(space: Space, evaluator: FastEvaluator, runners: Sequence[Runner] = ()) -> dict[str, str]:
    """Return what evaluations of one journal must have in common.

    Args:
        runners: what measures latencies, if they are not those of the table.
    """
    return {
        **about_space(space),
        "weights_sha256": start_sha256(evaluator.module, {}),
        "data": evaluator.dataset.name,
        "images_sha256": images_sha256(evaluator.held_out),
        "fast evaluation": evaluator.config.model_dump_json(),
        "latency": _measured_on(space, runners) if runners else "from the table",
    }


def about_space(space: Space) -> dict[str, str]:
    """Return what candidates of one space have in common, whatever they are evaluated with."""
    actions = [[each.action_name(i) for i in range(len(each.choices))] for each in space.decisions]
    return {
        "model": f"{space.request.model.name} {space.request.model.layers_sha256}",
        "latency_table_sha256": _sha256(space.request.table.to_json()),
        "actions_sha256": _sha256(repr(actions)),
        "budget_ms": f"{space.budget_us / 1e3:g}",
    }


def _measured_on(space: Space, runners: Sequence[Runner]) -> str:
    """Return the devices, with their target and threads, which are those of the table; of this machine its CPU."""
    table = space.request.table
    names = sorted(each.name if each.name != THIS_MACHINE else f"{read_machine().cpu} here" for each in runners)
    return f"measured on {', '.join(names)}, target {table.machine.target or NATIVE}, threads {table.threads}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
