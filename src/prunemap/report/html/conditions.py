"""What the numbers were taken on and with: machine, versions, commands, settings; and tables that go beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunemap.core.latency_table import Machine
from prunemap.report.html.paths import shown_command, shown_path
from prunemap.report.html.run_folder import Run
from prunemap.report.html.training_charts import PARTS
from prunemap.report.text import milliseconds, percent, size, times
from prunemap.report.timings import machine_name, point_count, thread_count, threads_and_cpus

if TYPE_CHECKING:  # importing pruning imports torch
    from prunemap.pruning import History

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Grid:
    """A table."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    """CSS classes of the columns: ``name``, ``number`` or ``long`` text."""

    @classmethod
    def of_figures(cls, headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Grid:
        """Return a table of a name and figures per row."""
        return cls(headers, tuple(rows), ("name", *["number"] * (len(headers) - 1)))


def engines(run: Run) -> Grid | None:
    """Return what every engine took; None without a bench."""
    if run.benched is None:
        return None
    rows = []
    for each in run.benched.results:
        figures = map(milliseconds, (each.median_ms, each.p10_ms, each.p90_ms))
        ratio = run.benched.ratios.get(each.engine)
        rows.append((each.engine, *figures, str(each.runs), "" if ratio is None else times(ratio)))
    return Grid.of_figures(("engine", "median, ms", "p10", "p90", "runs", "prunemap is faster"), rows)


def seeds(run: Run) -> Grid | None:
    """Return the accuracies of every seed; None without a summary."""
    if run.summary is None:
        return None
    rows = (
        (
            str(each.seed),
            percent(each.dense),
            "" if each.control is None else percent(each.control),
            percent(each.pruned),
            f"{-100 * each.loss:+.1f}",
            percent(each.macs_kept),
            percent(each.weights_kept),
        )
        for each in run.summary.seeds
    )
    return Grid.of_figures(("seed", "dense", "control", "pruned", "points", "MACs kept", "weights kept"), rows)


def sections(run: Run) -> list[tuple[str, Facts]]:
    """Return the conditions by what they are of, those that are known."""
    found = (
        ("latency table", _of_table(run)),
        ("bench", _of_bench(run)),
        ("recipe", _of_recipe(run)),
        ("trainings", _of_trainings(run)),
        ("files", tuple((name, size(bytes_)) for name, bytes_ in run.sizes_bytes.items())),
    )
    kept = ((title, tuple((name, value) for name, value in facts if value)) for title, facts in found)
    return [(title, facts) for title, facts in kept if facts]


def _of_machine(machine: Machine, run: Run) -> Facts:
    return (
        ("machine", machine_name(machine)),
        ("target", machine.target),
        ("compiler", shown_command(machine.compiler, run.folder)),
    )


def _of_table(run: Run) -> Facts:
    table = run.latency
    if table is None:
        return ()
    return (
        *_of_machine(table.machine, run),
        ("measured", f"{point_count(table)}; {thread_count(table.threads)}"),
        *(("note", shown_command(note, run.folder)) for note in table.notes),
        ("command", shown_command(table.command, run.folder)),
        ("date", table.date),
    )


def _of_bench(run: Run) -> Facts:
    benched = run.benched
    if benched is None:
        return ()
    return (
        *_of_machine(benched.machine, run),
        ("network", shown_path(benched.model, run.folder)),
        ("measured", f"{threads_and_cpus(benched)}, {benched.rounds} interleaved rounds"),
        ("error", f"{benched.max_relative_error:.2g} relative at most, against {benched.reference}"),
        ("versions", ", ".join(dict.fromkeys(benched.versions.values()))),
        ("command", shown_command(benched.command, run.folder)),
        ("date", benched.date),
    )


def _of_recipe(run: Run) -> Facts:
    recipe = run.recipe
    if recipe is None:
        return ()
    return (
        ("network", shown_path(recipe.model.name, run.folder)),
        ("start", "" if recipe.model.start is None else shown_path(str(recipe.model.start), run.folder)),
        ("data", recipe.data.name),
        ("method", recipe.prune.method),
        ("seeds", ", ".join(map(str, recipe.seeds))),
        ("rules", "; ".join(f"{rule.match}: {rule.scheme}{_at(rule.density)}" for rule in recipe.layers)),
    )


def _at(density: float | None) -> str:
    return "" if density is None else f" at {percent(density)}"


def _of_trainings(run: Run) -> Facts:
    found = []
    for phase, (stage, part) in PARTS.items():
        history: History | None = getattr(run.reports.get(stage), part, None)
        if history is not None:
            config = history.config
            settings = (
                f"{config.epochs} epochs, batches of {config.batch_size}, learning rate {config.lr:g}, "
                f"distillation {config.distillation:g}, seed {config.seed}"
            )
            found.append((phase, settings))
    return tuple(found)
