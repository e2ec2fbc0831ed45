"""Search-based mapping. SEARCHERS: ways to propose candidates; ``reinforce`` learns a policy.

Only the policy imports torch, and only when it is made.
"""

from prunemap.core.table import by_name
from prunemap.mapping.search.config import ReinforceConfig, SearchConfig
from prunemap.mapping.search.evaluation import Evaluate, Evaluation, FastAccuracy, Objective, Rung, Scored, front
from prunemap.mapping.search.journal import Journal, JournalHeader
from prunemap.mapping.search.optuna_search import make_nsga2, make_tpe
from prunemap.mapping.search.pool import Job, Pool, SequentialPool
from prunemap.mapping.search.problem import Candidate, Problem, plain_problem
from prunemap.mapping.search.random_search import RandomSearch
from prunemap.mapping.search.ray_pool import RayPool
from prunemap.mapping.search.record import Finalist, SearchedDecision, SearchRecord
from prunemap.mapping.search.runners import Runner, RunnerPool
from prunemap.mapping.search.search import OnEvaluation, Search
from prunemap.mapping.search.searcher import Probabilities, Searcher, SearcherEntry
from prunemap.mapping.search.space import Space, make_space, plan_key

__all__ = [
    "SEARCHERS",
    "Candidate",
    "Evaluate",
    "Evaluation",
    "FastAccuracy",
    "Finalist",
    "Job",
    "Journal",
    "JournalHeader",
    "Objective",
    "OnEvaluation",
    "Pool",
    "Probabilities",
    "Problem",
    "RandomSearch",
    "RayPool",
    "ReinforceConfig",
    "Rung",
    "Runner",
    "RunnerPool",
    "Scored",
    "Search",
    "SearchConfig",
    "SearchRecord",
    "SearchedDecision",
    "Searcher",
    "SearcherEntry",
    "SequentialPool",
    "Space",
    "front",
    "make_space",
    "plain_problem",
    "plan_key",
]


def _make_reinforce(problem: Problem, config: SearchConfig) -> Searcher:
    from prunemap.mapping.search.reinforce import Reinforce  # noqa: PLC0415 (imports torch)

    return Reinforce(problem, config)


SEARCHERS: dict[str, SearcherEntry] = by_name(
    (
        SearcherEntry("reinforce", _make_reinforce),  # policy-gradient reinforcement learning
        SearcherEntry("random", RandomSearch),  # every action alike
        SearcherEntry("tpe", make_tpe),  # tree-structured Parzen estimator of Optuna
        SearcherEntry("nsga2", make_nsga2),  # NSGA-II of Optuna: the front of accuracy and latency
    )
)
