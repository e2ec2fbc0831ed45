"""What the parts of search.py share: the network, its spaces, the data, the table of evaluations."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from prunemap.core.latency_table import Machine
from prunemap.core.value import Value, now
from prunemap.datasets import Dataset, load_dataset
from prunemap.devices import read_machine
from prunemap.mapping import Budget, MapRequest
from prunemap.mapping.map_model import make_request
from prunemap.mapping.rules import Rules
from prunemap.mapping.search import Evaluation, Journal, JournalHeader, SearchConfig, Space, make_space
from prunemap.plan_search import about_space
from prunemap.pruning import load_checkpoint, use_threads
from prunemap.pruning.fast_evaluate import FastConfig, FastEvaluator, make_fast_evaluator, rungs_to


class Facts(Value):
    """What every result file begins with."""

    command: str
    date: str
    machine: Machine


class Setup:
    """What the options name, loaded when it is needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @cached_property
    def request(self) -> MapRequest:
        return make_request(self.options.onnx, self.options.latency, Budget(latency_ms=self.options.latency_ms))

    @cached_property
    def space(self) -> Space:
        """With the plan by the rules among its actions; what the table is of."""
        return make_space(self.request, Rules().map(self.request), SearchConfig())

    @cached_property
    def unseeded_space(self) -> Space:
        """Without anything of the plan by the rules."""
        return make_space(self.request, None, SearchConfig(seeded=False))

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.options.data, self.options.data_folder)

    @cached_property
    def evaluator(self) -> FastEvaluator:
        use_threads(self.options.threads)
        module, _ = load_checkpoint(self.options.checkpoint)
        fast = FastConfig(rungs=rungs_to(self.options.steps), images=self.options.images)
        evaluator = make_fast_evaluator(module, self.dataset, fast, threads=self.options.threads)
        evaluator.check_plan(self.space.plan((0,) * len(self.space.decisions)))
        return evaluator

    def table(self) -> list[Evaluation]:
        """Return the rows of the table, whatever they were measured with.

        Raises:
            SystemExit: it is of another network, latency table, budget or of other actions.
        """
        path = Path(self.options.table)
        header = JournalHeader.model_validate_json(path.read_text().splitlines()[0])
        check_table(path, header, self.space)
        journal = Journal.begin(path, header, resume=True)
        return [each for each in journal.evaluations if each.complete]

    def check_fast_evaluation(self) -> None:
        """Check that the table was measured as the options say.

        Raises:
            SystemExit: it was not.
        """
        header = JournalHeader.model_validate_json(Path(self.options.table).read_text().splitlines()[0])
        was, here = header.about["fast evaluation"], self.evaluator.config.model_dump_json()
        if was != here:
            raise SystemExit(f"--table: its evaluations are by {was}; --steps and --images give {here}")

    def facts(self) -> dict[str, object]:
        return {
            "command": shlex.join(["python", *sys.argv]),
            "date": now(),
            "machine": read_machine(),
        }


def evenly_spread(rows: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """Return so many of the rows."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int) if rows else []
    return [rows[i] for i in places]


def check_table(path: Path, header: JournalHeader, space: Space) -> None:
    """Check that the candidates of a table mean what they mean in a space.

    Raises:
        SystemExit: they do not; all that differs is listed.
    """
    here = about_space(space)
    other = [name for name, value in here.items() if header.about.get(name) != value]
    if other:
        raise SystemExit(f"--table: {path} differs from --onnx, --latency, --latency-ms in: {', '.join(other)}")
