"""Benchmarks of searches: the surrogate, its noise, searches replayed on it, what fast accuracies are worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.surrogate import features_of, fit_landscape
from prunemap.core.latency_table import Machine
from prunemap.core.wiring import Wiring
from prunemap.mapping import Budget, MapRequest
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import SEARCHERS, Evaluation, JournalHeader, Rung, SearchConfig, Space, make_space
from prunemap.plan_search import about_space
from prunemap.pruning import TrainConfig
from tests.made_up_table import made_up_table
from tests.unit.mapping.conftest import conv

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def make_shared_space() -> Space:
    """Return a space in which the first and the last of three layers may share filters."""
    layers = [conv(name, 16 if i else 3, 16, 3, 14, seed=i) for i, name in enumerate(("stem", "a", "b", "c", "last"))]
    table = made_up_table((layer.spec.setting for layer in layers), {"filter": 0.9})
    request = MapRequest(layers, table, Budget(latency_ms=0.08), wiring=Wiring((frozenset({"a", "c"}),)))
    return make_space(request, Rules().map(request), SearchConfig(seeded=False))


def test_a_column_is_of_the_same_layer_whether_filters_are_shared_or_not() -> None:
    space = make_shared_space()
    assert [each.name for each in space.decisions] == ["filters of a, c", "a", "b", "c"]
    apart, together = features_of(space, [(0, 0, 1, 0), (1, 0, 1, 0)])[:, :3]
    lost = 1 - space.decisions[2].choices[1][0].energy
    assert lost > 0
    np.testing.assert_allclose(apart, [0, lost, 0])
    shared = [1 - option.energy for option in space.decisions[0].choices[1]]
    np.testing.assert_allclose(together, [shared[0], lost, shared[1]])


def make_table(space: Space, count: int = 60) -> list[Evaluation]:
    """Return evaluations of random candidates, two rungs, accuracy from the energy kept."""
    searcher, rows = SEARCHERS["random"].make(space.problem, SearchConfig(seed=1)), []
    for i in range(count):
        candidate = searcher.ask()
        kept = space.result(candidate).energy_kept
        rungs = tuple(Rung(steps=30 * k, accuracy=0.3 * (1 + k) * kept) for k in range(2))
        rows.append(
            Evaluation(
                key=str(i),
                candidate=candidate,
                rungs=rungs,
                complete=True,
                latency_us=space.latency_us(candidate),
                seconds=1,
            )
        )
    return rows


def test_noise_belongs_to_an_evaluation_of_a_plan_and_has_its_size() -> None:
    space = make_shared_space()
    landscape = fit_landscape(space, make_table(space), 0.02)
    assert landscape.rungs == (0, 30) and landscape.surrogates[1].rank_correlation > 0.9
    noisy = [landscape.accuracies(space, (0, 0, 1, 0), look)[1] for look in ("1", "1", "2")]
    assert noisy[0] == noisy[1] != noisy[2]
    true = landscape.accuracies(space, (0, 0, 1, 0))[1]
    off = [landscape.accuracies(space, (0, 0, 1, 0), str(look))[1] - true for look in range(200)]
    assert np.std(off) == pytest.approx(0.02, rel=0.2)


def test_searches_are_replayed_with_halving_and_judged_without_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from benchmarks.search_compare import replay

    space = make_shared_space()
    table = make_table(space)
    landscape = fit_landscape(space, table, 0.02)
    found = replay(landscape, space, "random", seed=0, seeded=False, evaluations=30)
    assert len(found.curve) == 30 and list(found.curve) == sorted(found.curve)
    assert 0 < found.stopped < 1
    assert found == replay(landscape, space, "random", seed=0, seeded=False, evaluations=30)
    assert found.true <= landscape.surrogates[1].most and found.first <= landscape.surrogates[1].most
    exact = replay(fit_landscape(space, table, 0.0), space, "random", seed=0, seeded=False, evaluations=30)
    assert exact.seen == exact.true == exact.first == exact.curve[-1]


def test_noise_is_what_two_evaluations_of_a_plan_differ_by_but_for_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from benchmarks.search_again import Twice, noise_of

    rng = np.random.default_rng(0)
    worth = rng.uniform(0.3, 0.8, 400)
    first, again = worth + 0.02 * rng.standard_normal(400), worth + 0.1 + 0.02 * rng.standard_normal(400)
    rows = [Twice(key="", first=f, again=a) for f, a in zip(first, again, strict=True)]
    assert noise_of(rows) == pytest.approx(0.02, rel=0.1)


def test_a_table_of_another_budget_or_of_other_actions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from benchmarks.search_setup import check_table

    space = make_shared_space()
    header = JournalHeader(about=about_space(space), config=SearchConfig())
    check_table(Path("t.jsonl"), header, space)
    other = make_space(replace(space.request, budget=Budget(latency_ms=0.07)), None, SearchConfig(densities=(0.2,)))
    with pytest.raises(SystemExit, match="in: actions_sha256, budget_ms"):
        check_table(Path("t.jsonl"), header, other)


def test_fast_accuracy_is_ranked_over_the_plans_and_within_the_better_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from benchmarks.search_retrain import Retrained, Retraining, with_rankings

    reached = (0.1, 0.2, 0.3, 0.8, 0.7, 0.6)
    rows = tuple(
        Retrained(
            key=str(i), name="", seed=seed, latency_us=1, fast_accuracy=i / 10, held_out_accuracy=accuracy + seed / 100,
            test_accuracy=1 - accuracy, minutes=1,
        )
        for i, accuracy in enumerate(reached)
        for seed in range(2)
    )  # fmt: skip
    config, machine = TrainConfig(epochs=1), Machine(cpu="made up", arch="none", cores=1, system="none")
    result = with_rankings(Retraining(command="", date="", machine=machine, config=config, rows=rows))
    assert result.ranking is not None and result.top_half is not None
    assert result.ranking.plans == 6 and 0 < result.ranking.held_out < 1
    assert result.ranking.test == pytest.approx(-result.ranking.held_out)
    assert (result.top_half.plans, result.top_half.held_out) == (3, pytest.approx(-1.0))
