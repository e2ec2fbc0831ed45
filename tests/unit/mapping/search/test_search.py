"""Searching: nothing twice, the same after an interrupt, hopeless candidates stopped, the best one returned."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier
from time import sleep
from types import TracebackType
from typing import Self

import pytest

from prunemap.core.plan import Plan
from prunemap.errors import UserError
from prunemap.mapping.search import (
    SEARCHERS,
    Evaluation,
    FastAccuracy,
    Job,
    Objective,
    Rung,
    RunnerPool,
    SearchConfig,
    front,
    plan_key,
)
from tests.unit.mapping.search.tiny import FakeEvaluate, make_search

ROOT = Path(__file__).parents[4]
NEEDS_OPTUNA = pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed (extra search)")
EVERY = [pytest.param(name, marks=NEEDS_OPTUNA if name in ("tpe", "nsga2") else ()) for name in SEARCHERS]
CONFIG = SearchConfig(evaluations=12, stop_after=4)


def without_times(evaluations: list[Evaluation]) -> list[Evaluation]:
    return [each.model_copy(update={"finished": ""}) for each in evaluations]


@pytest.mark.parametrize("name", EVERY)
def test_every_searcher_evaluates_so_many_and_none_twice(name: str, tmp_path: Path) -> None:
    evaluate, told = FakeEvaluate(), list[int]()
    search = make_search(tmp_path / "j.jsonl", evaluate, CONFIG.model_copy(update={"searcher": name, "population": 4}))
    search.run(lambda number, evaluation, reward: told.append(number))
    looks = len(evaluate.asked_again)
    assert told == list(range(1, 13 + looks)) and looks in (CONFIG.finalists, CONFIG.finalists + 1)
    keys = [plan_key(plan) for plan in evaluate.asked]
    assert len(keys) == len(set(keys)) == 12
    assert keys[0] == plan_key(search.space.rules.plan), "the plan by the rules comes first"
    record = search.record(command="command")
    assert record.evaluations[record.best] == search.best()
    assert len(record.evaluations) == len(record.rewards) == 12
    assert len(record.finalists()) == looks and record.finalists()[0].place == record.best
    assert record.rules == 0 in [each.place for each in record.finalists()]
    assert all(decision.chosen is not None for decision in record.decisions)
    assert (record.decisions[0].probabilities is None) == (name != "reinforce")


@pytest.mark.parametrize("survived", [0, 7, 14])
def test_killed_and_resumed_it_repeats_nothing_and_ends_in_the_same(survived: int, tmp_path: Path) -> None:
    plain = FakeEvaluate()
    whole = make_search(tmp_path / "whole.jsonl", plain, CONFIG)
    whole.run()
    path = tmp_path / "killed.jsonl"
    script = [sys.executable, "-m", "tests.unit.mapping.search.killed_search"]
    done = subprocess.run([*script, str(path), str(survived), CONFIG.model_dump_json()], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    evaluate = FakeEvaluate()
    resumed = make_search(path, evaluate, CONFIG)
    assert len(resumed.journal.evaluations) + len(resumed.journal.second_looks) == survived
    resumed.run()
    assert len(evaluate.asked) == max(0, 12 - survived)
    assert len(evaluate.asked_again) == len(plain.asked_again) - max(0, survived - 12)
    assert without_times(resumed.journal.second_looks) == without_times(whole.journal.second_looks)
    assert without_times(resumed.journal.evaluations) == without_times(whole.journal.evaluations)
    assert resumed.best().key == whole.best().key


def test_a_finished_search_evaluates_nothing_and_a_longer_one_only_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    make_search(path, FakeEvaluate(), CONFIG).run()
    again, longer = FakeEvaluate(), FakeEvaluate()
    make_search(path, again, CONFIG).run()
    assert again.asked == again.asked_again == []
    make_search(path, longer, CONFIG.model_copy(update={"evaluations": 15})).run()
    assert len(longer.asked) == 3
    assert len(longer.asked_again) <= 3, "only of what is among the best now"


def test_a_search_may_be_ended_with_what_it_has_and_finalists_asked_for_later(tmp_path: Path) -> None:
    path, later = tmp_path / "j.jsonl", FakeEvaluate()
    make_search(path, FakeEvaluate(), CONFIG.model_copy(update={"finalists": 0})).run()
    make_search(path, later, CONFIG).run()
    assert later.asked == [] and len(later.asked_again) >= CONFIG.finalists


class Off(FakeEvaluate):
    """The first look at one of the plans, counted from 1, is off."""

    def __init__(self, number: int, by: float) -> None:
        super().__init__()
        self.number, self.by = number, by

    def __call__(self, plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        found = super().__call__(plan, floors, second_look=second_look)
        if second_look or len(self.asked) != self.number:
            return found
        rungs = tuple(rung.model_copy(update={"accuracy": rung.accuracy + self.by}) for rung in found.rungs)
        return found.model_copy(update={"rungs": rungs})


def test_a_lucky_candidate_is_not_taken_for_the_best(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"searcher": "random", "keep": 1.0})
    one = make_search(tmp_path / "one.jsonl", Off(3, 0.25), config.model_copy(update={"finalists": 0}))
    one.run()
    two = make_search(tmp_path / "two.jsonl", Off(3, 0.25), config)
    two.run()
    assert without_times(one.journal.evaluations) == without_times(two.journal.evaluations)
    lucky = one.journal.evaluations[2]
    assert one.best() == lucky and not one.journal.second_looks
    assert two.best() == two.journal.evaluations[0]
    looked = {each.place: each for each in two.record().finalists()}
    assert looked[2].first == lucky.accuracy and looked[2].again == pytest.approx(lucky.accuracy - 0.25)


def test_the_plan_by_the_rules_has_a_second_look_however_unlucky_the_first_was(tmp_path: Path) -> None:
    evaluate = Off(1, -0.4)
    config = CONFIG.model_copy(update={"searcher": "random", "keep": 1.0, "finalists": 1})
    search = make_search(tmp_path / "j.jsonl", evaluate, config)
    search.run()
    rules = plan_key(search.space.rules.plan)
    assert [plan_key(plan) for plan in evaluate.asked_again] == [search.journal.second_looks[0].key, rules]
    assert search.journal.second_looks[0].key != rules == search.journal.evaluations[search.record().rules].key


def test_where_training_diverges_it_is_said(tmp_path: Path) -> None:
    def diverging(plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        return FastAccuracy(rungs=(Rung(steps=0, accuracy=0.1),), complete=False, seconds=1.0, diverged=True)

    search = make_search(tmp_path / "j.jsonl", diverging, CONFIG)
    search.run()
    with pytest.raises(UserError, match="none of 12 evaluations was trained to the end; training diverged in 12 of"):
        search.best()


def test_a_searcher_without_anything_new_ends_the_search(tmp_path: Path) -> None:
    class Stubborn:
        def __init__(self, candidate: tuple[int, ...]) -> None:
            self.candidate = candidate

        def ask(self) -> tuple[int, ...]:
            return self.candidate

        def tell(self, candidate: object, scored: object) -> None: ...

        def learnt(self) -> None: ...

    evaluate = FakeEvaluate()
    search = make_search(tmp_path / "j.jsonl", evaluate, CONFIG)
    search.searcher = Stubborn((0, 0, 0))
    search.run()
    assert len(evaluate.asked) == 1


class LatestFirst:
    """Three at once; the latest job is finished first."""

    workers = 3

    def __init__(self, evaluate: FakeEvaluate) -> None:
        self.evaluate, self.jobs, self.most = evaluate, deque[Job](), 0

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.most = max(self.most, len(self.jobs))

    def wait(self, seconds: float | None = None) -> tuple[str, FastAccuracy]:
        job = self.jobs.pop()
        return job.key, self.evaluate(job.plan, job.floors, second_look=job.second_look)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None: ...


def test_several_at_once_resume_in_the_order_in_which_they_were_finished(tmp_path: Path) -> None:
    whole, pool = FakeEvaluate(), LatestFirst(FakeEvaluate())
    first = make_search(tmp_path / "j.jsonl", whole, CONFIG, pool)
    first.run()
    assert pool.most == 3 and len(pool.evaluate.asked) == 12
    lines = (tmp_path / "j.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "j.jsonl").write_bytes(b"".join(lines[:6]))
    again = LatestFirst(FakeEvaluate())
    resumed = make_search(tmp_path / "j.jsonl", whole, CONFIG, again)
    resumed.run()
    assert len(again.evaluate.asked) == 7
    assert without_times(resumed.journal.evaluations)[:5] == without_times(first.journal.evaluations)[:5]
    assert len({each.key for each in resumed.journal.evaluations}) == 12


def test_second_looks_are_recorded_in_the_order_of_the_first(tmp_path: Path) -> None:
    search = make_search(tmp_path / "j.jsonl", FakeEvaluate(), CONFIG, LatestFirst(FakeEvaluate()))
    search.run()
    record = search.record()
    first_looks = [each.key for each in record.evaluations]
    finished, recorded = (
        [first_looks.index(each.key) for each in looks] for looks in (search.journal.second_looks, record.second_looks)
    )
    assert recorded == sorted(finished) != finished


def evaluation(accuracies: list[float], latency_us: float = 50.0, complete: bool | None = None) -> Evaluation:
    rungs = tuple(Rung(steps=10 * i, accuracy=accuracy) for i, accuracy in enumerate(accuracies))
    done = len(rungs) == 3 if complete is None else complete
    key = f"{accuracies} {latency_us}"
    return Evaluation(key=key, candidate=(0,), rungs=rungs, complete=done, latency_us=latency_us, seconds=1.0)


def test_reward_is_accuracy_less_what_is_over_budget() -> None:
    objective = Objective(100.0, SearchConfig(penalty=2.0))
    assert objective.score(evaluation([0.1, 0.2, 0.9], 100.0)).reward == pytest.approx(0.9)
    assert objective.score(evaluation([0.1, 0.2, 0.9], 125.0)).reward == pytest.approx(0.4)
    assert objective.score(evaluation([0.1, 0.2], 50.0)).accuracy == 0.2


def test_the_better_half_goes_on_and_what_is_over_budget_must_be_better() -> None:
    objective = Objective(100.0, SearchConfig(penalty=2.0, keep=0.5, stop_after=4))
    done = [evaluation([0.1 * i, 0.1 * i + 0.3, 0.9]) for i in range(4)]
    assert objective.floors(done[:3], 50.0) == (float("-inf"), float("-inf"))
    assert objective.floors(done, 50.0) == pytest.approx((0.15, 0.45))
    assert objective.floors(done, 110.0) == pytest.approx((0.35, 0.65))
    assert objective.floors([*done, evaluation([0.05])], 50.0) == pytest.approx((0.1, 0.45))
    assert Objective(100.0, SearchConfig(keep=1.0)).floors(done * 3, 50.0) == (float("-inf"), float("-inf"))
    assert objective.floors([], 50.0) == ()


def test_searchers_are_told_of_a_stopped_candidate_what_it_might_have_reached() -> None:
    objective = Objective(100.0, SearchConfig(penalty=2.0))
    done = [evaluation([0.1, 0.3, 0.6]), evaluation([0.2, 0.5, 0.7]), evaluation([0.3, 0.5, 0.9])]
    assert objective.told(done[0], done) == objective.score(done[0])
    stopped = evaluation([0.05], 110.0)
    told = objective.told(stopped, [*done, stopped])
    assert told.accuracy == pytest.approx(0.05 + 0.5) and told.reward == pytest.approx(0.55 - 0.2)
    assert objective.told(evaluation([0.1, 0.48]), done).accuracy == pytest.approx(0.7), "no better than the median"
    assert objective.told(stopped, [stopped]) == objective.score(stopped), "nothing is known of the end"


def test_hopeless_candidates_are_stopped_early(tmp_path: Path) -> None:
    search = make_search(tmp_path / "j.jsonl", FakeEvaluate(), CONFIG.model_copy(update={"evaluations": 25}))
    search.run()
    stopped = [each for each in search.journal.evaluations if not each.complete]
    assert 5 <= len(stopped) <= 20
    assert all(each.complete for each in search.journal.evaluations[: CONFIG.stop_after])
    assert search.best().complete


def test_the_best_is_within_the_budget_where_one_is() -> None:
    objective = Objective(100.0, SearchConfig(penalty=0.1))
    within, over = evaluation([0.1, 0.2, 0.7], 99.0), evaluation([0.1, 0.2, 0.9], 110.0)
    stopped = evaluation([0.95], 50.0)
    assert objective.best([over, within, stopped]) == within
    assert objective.best([over, stopped]) == over
    assert objective.best([stopped]) is None


def test_finalists_are_the_best_that_may_be_chosen_and_the_plan_by_the_rules() -> None:
    objective = Objective(100.0, SearchConfig(finalists=2))
    worst, middle, best = (evaluation([0.1, 0.2, accuracy], 99.0) for accuracy in (0.5, 0.7, 0.9))
    over, stopped = evaluation([0.1, 0.2, 1.0], 110.0), evaluation([0.95], 50.0)
    done = [worst, over, middle, stopped, best]
    assert objective.finalists(done, None) == [best, middle]
    assert objective.finalists(done, worst.key) == [best, middle, worst]
    assert objective.finalists(done, best.key) == objective.finalists(done, over.key) == [best, middle]
    assert objective.finalists([best, over], best.key) == [], "there is nothing to choose"
    assert Objective(100.0, SearchConfig(finalists=0)).finalists(done, worst.key) == []


def test_of_those_with_two_looks_the_best_has_the_best_mean() -> None:
    objective = Objective(100.0, SearchConfig())
    once, lucky, steady = (evaluation([0.1, 0.2, accuracy], 90.0) for accuracy in (0.95, 0.9, 0.8))
    again = [each.model_copy(update={"second_look": True}) for each in (evaluation([0.6]), evaluation([0.75]))]
    again = [each.model_copy(update={"key": of.key}) for each, of in zip(again, (lucky, steady), strict=True)]
    assert objective.best([once, lucky, steady]) == once
    assert objective.best([once, lucky, steady], again) == steady
    assert objective.best([once, lucky, steady], again[:1]) == lucky
    over = evaluation([0.1, 0.2, 0.9], 110.0)
    stale = evaluation([0.9]).model_copy(update={"key": over.key})
    assert objective.best([over, once], [stale]) == once, "one within the budget came later"


def test_the_front_is_what_nothing_beats_in_both() -> None:
    done = [
        evaluation([0, 0, 0.5], 30.0),
        evaluation([0, 0, 0.9], 90.0),
        evaluation([0, 0, 0.4], 40.0),
        evaluation([0, 0, 0.6], 50.0),
        evaluation([0.99], 10.0),
        evaluation([0, 0, 0.6], 60.0),
    ]
    assert front(done) == [0, 3, 1]


def test_measured_latencies_replace_those_of_the_table(tmp_path: Path) -> None:
    class Device:
        def __init__(self, name: str) -> None:
            self.name, self.busy, self.measured = name, False, 0

        def latency_us(self, plan: Plan) -> float:
            assert not self.busy, "one job at a time"
            self.busy = True
            self.measured += 1
            self.busy = False
            return 1000.0 * sum(layer.density for layer in plan.layers)

    devices = [Device("one"), Device("two")]
    search = make_search(tmp_path / "j.jsonl", FakeEvaluate(), CONFIG)
    search.runners = RunnerPool(devices)
    search.run()
    assert sum(device.measured for device in devices) == 12
    best = search.best()
    assert best.latency_us == pytest.approx(1000 * sum(e.density for e in search.result().plan.layers))
    assert search.record().measured
    with pytest.raises(UserError, match="runners: got none"):
        RunnerPool([])


class Board:
    """Measures only together with the other one: alone it waits in vain."""

    def __init__(self, name: str, both: Barrier) -> None:
        self.name, self.both = name, both

    def latency_us(self, plan: Plan) -> float:
        self.both.wait(timeout=10)
        return 70.0


def test_devices_measure_side_by_side_all_the_time(tmp_path: Path) -> None:
    both, evaluate = Barrier(2), FakeEvaluate()
    search = make_search(tmp_path / "j.jsonl", evaluate, CONFIG)
    search.runners = RunnerPool([Board("one", both), Board("two", both)])
    search.run()
    assert len(search.journal.evaluations) == len(evaluate.asked) == 12
    again = make_search(tmp_path / "j.jsonl", FakeEvaluate(), CONFIG)
    again.runners = RunnerPool([Board("one", both), Board("two", both)])
    again.run()
    assert without_times(again.journal.evaluations) == without_times(search.journal.evaluations)


def test_nothing_is_trained_beside_a_measurement_on_this_machine(tmp_path: Path) -> None:
    class Here:
        name, measuring = "local", False

        def latency_us(self, plan: Plan) -> float:
            self.measuring = True
            sleep(0.01)
            self.measuring = False
            return 70.0

    here, plain = Here(), FakeEvaluate()

    def evaluate(plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        assert not here.measuring
        return plain(plan, floors, second_look=second_look)

    search = make_search(tmp_path / "j.jsonl", evaluate, CONFIG)
    search.runners = RunnerPool([here])
    search.run()
    assert len(plain.asked) == 12


def test_a_device_that_fails_ends_the_search_with_what_it_said(tmp_path: Path) -> None:
    class Broken:
        name = "board"

        def latency_us(self, plan: Plan) -> float:
            raise UserError("device board: it does not answer")

    search = make_search(tmp_path / "j.jsonl", FakeEvaluate(), CONFIG)
    search.runners = RunnerPool([Broken(), Broken()])
    with pytest.raises(UserError, match="it does not answer"):
        search.run()
