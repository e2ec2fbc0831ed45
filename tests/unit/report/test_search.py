"""Searches as tables and as a section of the report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from prunemap.core.value import write_json
from prunemap.report import search_tables
from prunemap.report.html.run_folder import read_run
from prunemap.report.html.search_charts import search_figures
from tests.unit.report.search_records import search_record


def printed(record: object) -> str:
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        for table in search_tables(record):  # type: ignore[arg-type]
            console.print(table)
    return capture.get()


def test_the_tables_show_how_the_best_changed_and_the_front() -> None:
    text = printed(search_record())
    best, _, front = text.partition("front of accuracy and latency")
    best, _, finalists = best.partition("finalists")
    rows = [line.split() for line in finalists.splitlines() if line.strip()[:1].isdigit()]
    assert rows[0][:9] == ["2", "75.0", "%", "0.095", "73.0", "%", "74.0", "%", "chosen"]
    assert rows[1][:8] == ["1", "70.0", "%", "0.099", "72.0", "%", "71.0", "%"]
    assert "the plan by the rules" in best and "70.0 %" in best and "chosen" in best and "75.0 %" in best
    assert "80.0 %" not in best, "over the budget its reward is no better"
    assert "4 evaluations, 1 of them stopped early, by reinforce" in best and "dense 85.0 %" in best
    assert "80.0 %" in front and "70.0 %" not in front
    assert max(map(len, text.splitlines())) <= 80


def test_where_the_rules_stay_the_best_it_is_said() -> None:
    record = search_record()
    rules = record.model_copy(update={"best": 0, "rewards": (0.9, 0.1, 0.1, 0.1)})
    assert "the plan by the rules, chosen" in printed(rules)
    figures = search_figures({"reinforce": rules})
    assert figures is not None and figures.note.endswith("It is the plan by the rules.")


def test_a_plan_over_the_budget_is_not_called_within_it() -> None:
    record = search_record().model_copy(update={"best": 3})
    assert not record.meets_budget and search_record().meets_budget
    text = printed(record)
    assert "chosen, over the budget" in text and "no candidate within the budget was trained to the end" in text
    assert "over" not in printed(search_record())
    figures = search_figures({"reinforce": record})
    assert figures is not None and "none met the budget of 0.100 ms, the best reward has 80.0 %" in figures.note


def test_the_figures_have_a_line_per_search_and_what_the_policy_has_learnt() -> None:
    figures = search_figures({"reinforce": search_record(), "random": search_record("random")})
    assert figures is not None
    rewards, fronts = figures.charts
    assert [len(line.points) for line in rewards.lines] == [4, 4]
    assert [point[2] for point in rewards.lines[0].points][-1] == "reinforce, evaluation 4: 0.75"
    assert [len(line.points) for line in fronts.lines] == [2, 2]
    assert [mark.label for mark in fronts.marks] == [
        "reinforce, latency, ms 0.095: 75",
        "random, latency, ms 0.095: 75",
    ]
    assert len({style for style, _ in figures.searches}) == 2
    assert figures.finalists is not None
    assert figures.finalists.rows[0] == ("2", "75.0 %", "73.0 %", "74.0 %", "0.095", "chosen", "reinforce")
    assert [row[0] for row in figures.finalists.rows] == ["2", "1", "2", "1"]
    assert figures.finalists.rows[1][5] == "the plan by the rules"
    again = "73.0 % when evaluated again, on 1,000 other images and batches in another order, at 0.095 ms"
    assert f"75.0 % (dense 85.0 %) on held-out images after a short training, {again}" in figures.note
    assert figures.chosen.rows == (("conv_a", "punched:8x4@0.2", "punched:8x4@0.2"), ("filters of b, c", "", ""))
    assert figures.learnt is not None
    assert figures.learnt.rows[0] == (
        "conv_a", "punched:8x4@0.2 65.0 %", "filter@0.1 25.0 %", "dense 10.0 %", "reinforce",
    )  # fmt: skip
    assert len(figures.learnt.rows) == 2
    alone = search_figures({"random": search_record("random")})
    assert alone is not None and alone.learnt is None
    once = search_record().model_copy(update={"second_looks": ()})
    plain = search_figures({"once": once})
    assert plain is not None and plain.finalists is None and "short training at 0.095 ms" in plain.note
    assert "finalists" not in printed(once)
    assert search_figures({}) is None


def test_every_search_of_a_folder_is_read_by_its_name(tmp_path: Path) -> None:
    write_json(tmp_path / "search.json", search_record())
    write_json(tmp_path / "other-search.json", search_record("random"))
    assert set(read_run(tmp_path).searches) == {"reinforce", "random (other)"}


def test_the_plan_by_the_rules_is_found_wherever_it_was_finished_and_same_images_are_said() -> None:
    record = search_record().model_copy(update={"rules": 1, "other_images": 0})
    finalists = printed(record).partition("finalists")[2]
    assert "the plan by the rules, chosen" in " ".join(finalists.split())
    assert "on the same images and batches in another order" in finalists
    figures = search_figures({"one": record})
    assert figures is not None and figures.note.endswith("It is the plan by the rules.")
    unseeded = printed(record.model_copy(update={"rules": None}))
    assert "the plan by the rules" not in unseeded
