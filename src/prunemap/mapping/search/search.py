"""Search: ask a searcher, evaluate what it proposes, tell it, until enough was evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

from prunemap.core.plan import Plan
from prunemap.core.value import now
from prunemap.errors import UserError
from prunemap.mapping.mapper import MapResult
from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.evaluation import Evaluation, FastAccuracy, Objective, front
from prunemap.mapping.search.journal import Journal
from prunemap.mapping.search.pool import Job, Pool
from prunemap.mapping.search.problem import Candidate
from prunemap.mapping.search.record import SearchedDecision, SearchRecord
from prunemap.mapping.search.runners import RunnerPool
from prunemap.mapping.search.searcher import Searcher
from prunemap.mapping.search.space import Space, plan_key

MAX_REPEATS = 100
"""Known candidates proposed in a row after which a search ends: its searcher has converged."""

POLL_SECONDS = 0.2
"""So often it is asked for measured plans while a worker has nothing to do."""
OnEvaluation = Callable[[int, Evaluation, float], None]
"""Told the number, from 1, of every evaluation, the evaluation and its reward."""


@dataclass(eq=False)
class Search:
    """One search.

    What the journal holds is told to the searcher in the order of the journal and not evaluated again, so that a
    resumed search goes on as if it had never stopped.
    """

    space: Space
    config: SearchConfig
    searcher: Searcher
    pool: Pool
    journal: Journal
    runners: RunnerPool | None = None
    """What measures latencies, while other candidates are trained; None = they are those of the table."""
    _done: dict[str, Evaluation] = field(default_factory=dict, init=False)
    _pending: dict[str, Candidate] = field(default_factory=dict, init=False)
    _measuring: dict[str, tuple[Plan, Future[float]]] = field(default_factory=dict, init=False)
    """Of the pending ones, in the order of asking: those that are measured, or wait for a worker."""
    _training: dict[str, float] = field(default_factory=dict, init=False)
    """Latencies of those that are with the pool."""

    @property
    def objective(self) -> Objective:
        """What candidates are worth."""
        return Objective(self.space.budget_us, self.config)

    @property
    def _rules_key(self) -> str | None:
        """Key of the plan by the rules, where it is a candidate."""
        return None if self.space.first is None else plan_key(self.space.plan(self.space.first))

    def run(self, say: OnEvaluation | None = None) -> None:
        """Evaluate ``config.evaluations`` candidates, fewer if the searcher has no new ones; the best ones twice.

        Args:
            say: told of every evaluation, those of the journal first, and then of the second looks.

        Raises:
            UserError: an evaluation is impossible, or the journal cannot be written.
        """
        places = {each.key: place for place, each in enumerate(self.journal.evaluations)}
        recorded = {each.key: each for each in self.journal.evaluations}
        with self.runners or nullcontext():
            while True:
                self._propose(recorded)
                if not self._pending:
                    break
                known = [key for key in self._pending if key in recorded]
                first = min(known, key=places.__getitem__, default=None)
                evaluation = self._next() if first is None else recorded[first]
                reward = self._take(evaluation)
                if say is not None:
                    say(len(self._done), evaluation, reward)
        for number, each in enumerate(self._second_looks(), len(self._done) + 1):
            if say is not None:
                say(number, each, self.objective.score(each).reward)

    def best(self) -> Evaluation:
        """Return the best evaluation: the most accurate within the budget, by both looks where it had two.

        Raises:
            UserError: none was trained to the end.
        """
        found = self.objective.best(self.journal.evaluations, self.journal.second_looks)
        if found is None:
            diverged = sum(each.diverged for each in self.journal.evaluations)
            why = f"training diverged in {diverged} of them; lower --lr" if diverged else "raise their number"
            raise UserError(
                f"search: none of {len(self.journal.evaluations)} evaluations was trained to the end; {why}"
            )
        return found

    def result(self) -> MapResult:
        """Return the best plan."""
        return self.space.result(self.best().candidate)

    def record(
        self, *, dense_accuracy: float | None = None, other_images: int | None = None, command: str = ""
    ) -> SearchRecord:
        """Return how it went.

        Args:
            dense_accuracy: of the dense network, on the same images.
            other_images: how many images of second looks are others than those of first ones; None = unknown.
        """
        evaluations, best = tuple(self.journal.evaluations), self.best()
        learnt, chosen = self.searcher.learnt(), best.candidate
        places = {each.key: i for i, each in enumerate(evaluations)}
        return SearchRecord(
            model=self.space.request.model,
            config=self.config,
            about=dict(self.journal.header.about),
            budget_us=self.space.budget_us,
            dense_us=self.space.dense_us,
            dense_accuracy=dense_accuracy,
            other_images=other_images,
            rules_us=None if self.space.rules is None else self.space.rules.latency_us,
            evaluations=evaluations,
            rewards=tuple(self.objective.score(each).reward for each in evaluations),
            second_looks=tuple(sorted(self.journal.second_looks, key=lambda each: places[each.key])),
            best=evaluations.index(best),
            rules=places.get(self._rules_key or ""),
            front=tuple(front(evaluations)),
            decisions=tuple(
                SearchedDecision(
                    name=each.name,
                    actions=tuple(map(each.action_name, range(len(each.choices)))),
                    chosen=None if each.set_at is not None and chosen[each.set_at] else chosen[i],
                    probabilities=None if learnt is None else learnt[i],
                )
                for i, each in enumerate(self.space.decisions)
            ),
            measured=self.runners is not None,
            command=command,
            date=now(),
        )

    def _propose(self, recorded: Mapping[str, Evaluation]) -> None:
        """Ask for as many candidates as pool and runners can work on, and begin those that are not recorded."""
        ahead = self.runners.count if self.runners is not None and self.runners.beside_training else 0
        repeats = 0
        while len(self._pending) < self.pool.workers + ahead and self._wanted() and repeats < MAX_REPEATS:
            candidate = self.searcher.ask()
            plan = self.space.plan(candidate)
            key = plan_key(plan)
            if key in self._pending:
                break  # the searcher can say more when it knows the result
            if key in self._done:
                self._tell(candidate, self._done[key])
                repeats += 1
                continue
            self._pending[key] = candidate
            if key not in recorded:
                self._measuring[key] = plan, self._latency(candidate, plan)

    def _wanted(self) -> bool:
        return len(self._done) + len(self._pending) < self.config.evaluations

    def _latency(self, candidate: Candidate, plan: Plan) -> Future[float]:
        if self.runners is not None:
            return self.runners.begin(plan)
        known = Future[float]()
        known.set_result(self.space.latency_us(candidate))
        return known

    def _next(self) -> Evaluation:
        """Return the next evaluation that is finished; what is measured meanwhile goes to workers without a job."""
        while True:
            self._submit()
            idle = len(self._training) < self.pool.workers
            found = self.pool.wait(POLL_SECONDS if idle and self._measuring else None)
            if found is not None:
                return self._record(*found)

    def _submit(self) -> None:
        """Give the pool what is measured, as far as it has workers; wait until it has something to do."""
        begun = [latency for _, latency in self._measuring.values()]
        if self.runners is not None and not self.runners.beside_training:
            wait(begun)
        elif not self._training:
            wait(begun, return_when=FIRST_COMPLETED)
        for key in [key for key, (_, latency) in self._measuring.items() if latency.done()]:
            if len(self._training) == self.pool.workers:
                return
            plan, latency = self._measuring.pop(key)
            self._training[key] = latency.result()
            self.pool.submit(Job(key, plan, self.objective.floors(list(self._done.values()), self._training[key])))

    def _record(self, key: str, found: FastAccuracy) -> Evaluation:
        evaluation = Evaluation.of(key, self._pending[key], self._training.pop(key), found)
        self.journal.append(evaluation)
        return evaluation

    def _second_looks(self) -> Iterator[Evaluation]:
        """Evaluate the finalists once more, on other batches and images; yield what the journal has of them first."""
        finalists = {each.key: each for each in self.objective.finalists(self.journal.evaluations, self._rules_key)}
        recorded = [each for each in self.journal.second_looks if each.key in finalists]
        yield from recorded
        looked = {each.key for each in recorded}
        missing = [each for key, each in finalists.items() if key not in looked]
        jobs = [Job(each.key, self.space.plan(each.candidate), second_look=True) for each in missing]
        waiting = iter(jobs)
        for job in islice(waiting, self.pool.workers):
            self.pool.submit(job)
        for _ in jobs:
            done = self.pool.wait()
            assert done is not None, "one waits as long as it takes"
            for job in islice(waiting, 1):
                self.pool.submit(job)
            key, found = done
            first_look = finalists[key]
            again = Evaluation.of(key, first_look.candidate, first_look.latency_us, found, second_look=True)
            self.journal.append(again)
            yield again

    def _take(self, evaluation: Evaluation) -> float:
        """Tell the searcher of a finished evaluation; return its reward, as it was when it ended."""
        self._done[evaluation.key] = evaluation
        self._tell(self._pending.pop(evaluation.key), evaluation)
        return self.objective.score(evaluation).reward

    def _tell(self, candidate: Candidate, evaluation: Evaluation) -> None:
        self.searcher.tell(candidate, self.objective.told(evaluation, list(self._done.values())))
