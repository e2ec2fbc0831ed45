"""What a search says while it runs, where there is no terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from prunemap.cli.search_progress import show_search
from prunemap.mapping.search import Evaluation, Rung, SearchConfig


def evaluation(accuracy: float, **changes: object) -> Evaluation:
    rungs = (Rung(steps=30, accuracy=accuracy),)
    plain = Evaluation(key="", candidate=(0,), rungs=rungs, complete=True, latency_us=90.0, seconds=40.0)
    return plain.model_copy(update=changes)


def test_each_line_says_what_was_found_the_best_so_far_and_the_time_left() -> None:
    out = StringIO()
    with show_search(SearchConfig(evaluations=6, finalists=2), 100.0, 2, Console(file=out, width=200)) as say:
        say(1, evaluation(0.5), 0.5)
        say(2, evaluation(0.9, latency_us=110.0), 0.7)
        say(3, evaluation(0.3, complete=False), 0.3)
        say(4, evaluation(0.1, complete=False, diverged=True), 0.1)
        say(5, evaluation(0.6, seconds=100.0), 0.6)
        say(7, evaluation(0.8, second_look=True), 0.8)
    assert out.getvalue().strip().splitlines() == [
        "1/9  50.00% at 0.09 ms, reward 0.5000; best 50.00% at 0.09 ms; 0:02:40 left",
        "2/9  90.00% at 0.11 ms, reward 0.7000; best 50.00% at 0.09 ms; 0:02:20 left",
        "3/9  30.00% at 0.09 ms, reward 0.3000, stopped after 30 steps; best 50.00% at 0.09 ms; 0:02:00 left",
        "4/9  10.00% at 0.09 ms, reward 0.1000, diverged after 30 steps; best 50.00% at 0.09 ms; 0:01:40 left",
        "5/9  60.00% at 0.09 ms, reward 0.6000; best 60.00% at 0.09 ms; 0:01:44 left",
        "7/9  80.00% at 0.09 ms, reward 0.8000, second look; best 60.00% at 0.09 ms; 0:00:50 left",
    ]


def test_more_than_asked_for_are_counted_and_without_second_looks_none_are() -> None:
    out = StringIO()
    with show_search(SearchConfig(evaluations=1, finalists=0), 10.0, console=Console(file=out, width=200)) as say:
        say(1, evaluation(0.5), 0.5)
        say(2, evaluation(0.5), 0.5)
    first, second = out.getvalue().strip().splitlines()
    assert first.startswith("1/1 ") and first.endswith("none within the budget yet; 0:00:00 left")
    assert second.startswith("2/2 ")
