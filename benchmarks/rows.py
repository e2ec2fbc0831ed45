"""What the benchmarks of whole networks share: how a run measures, and a result file that grows row by row."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from rich.console import Console
from zoo import RESULTS, WORK

from prunemap.benchmarking import QUICK, Effort
from prunemap.compiler import Tuning
from prunemap.compiler.build import find_compiler
from prunemap.core.latency_table import LatencyTable, Machine
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value, now, read_json, write_json
from prunemap.devices import read_machine
from prunemap.latency import DEFAULT_DENSITIES, DEFAULT_SCHEMES, LocalTimer, profile_models
from prunemap.targets import resolve_target

QUICK_SCHEMES = tuple(map(SchemeSpec.parse, ("unstructured", "pattern", "punched:8x4")))


class Row(Value):
    """One line of a result file."""

    name: str
    command: str
    date: str


RowT = TypeVar("RowT", bound=Row)


class Result(Value, Generic[RowT]):
    """The JSON file."""

    machine: Machine
    threads: int
    quick: bool
    rows: tuple[RowT, ...] = ()


@dataclass(frozen=True)
class Run:
    """How a run measures, and where its rows go."""

    threads: int
    quick: bool
    only: str
    """Regular expression of rows."""
    output: Path

    @classmethod
    def of(cls, options: argparse.Namespace, what: str) -> Run:
        """Return the run that options of :func:`options_parser` ask for; ``what`` begins the default file's name."""
        path = options.output or RESULTS / f"{what}-{_machine().target}-{now()[:10]}.json"
        return cls(options.threads, options.quick, options.only, path)

    @property
    def effort(self) -> Effort:
        return QUICK if self.quick else Effort()

    @property
    def tuning(self) -> Tuning | None:
        return None if self.quick else Tuning(self.threads)

    @property
    def command(self) -> str:
        return shlex.join(["python", *sys.argv])

    def wants(self, name: str) -> bool:
        return re.search(self.only, name) is not None


def options_parser(description: str | None, example: str) -> argparse.ArgumentParser:
    """Return the parser of the options that every such benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements, tiles not tuned")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", metavar="REGEX", help=f"rows, such as '{example}'")
    parser.add_argument("-o", "--output", type=Path, help="default: benchmarks/results/WHAT-TARGET-DATE.json")
    return parser


def measure_rows(
    run: Run,
    kind: type[Result[RowT]],
    measurements: Mapping[str, Callable[[Run], RowT]],
    print_result: Callable[[Result[RowT], Console], None],
    *,
    fresh: bool = False,
    width: int = 120,
) -> None:
    """Measure the rows that the file does not have, writing each as it comes; print all, also when interrupted.

    Args:
        fresh: measure again what the file has.
        width: of the tables where the output is no terminal, in columns.

    Raises:
        SystemExit: the file is of another machine or of other settings.
    """
    machine, path = _machine(), run.output
    result = kind(machine=machine, threads=run.threads, quick=run.quick)
    if path.exists():
        result = read_json(path, kind, "--output")
        version = result.machine.prunemap or machine.prunemap  # files of before do not say it
        was = result.machine.model_copy(update={"prunemap": version})
        if (result.quick, result.threads, was) != (run.quick, run.threads, machine):
            raise SystemExit(f"{path} was measured otherwise: name another file (-o), or delete it")
    wanted = {name: measure for name, measure in measurements.items() if run.wants(name)}
    rows = tuple(row for row in result.rows if not (fresh and row.name in wanted))
    console = Console(width=None if sys.stdout.isatty() else width)
    with ExitStack() as stack:
        stack.callback(lambda: print_result(read_json(path, kind, "--output"), console) if path.exists() else None)
        for name, measure in wanted.items():
            if name not in {row.name for row in rows}:
                Console(stderr=True).print(name)
                rows = (*rows, measure(run))
                write_json(path, result.model_copy(update={"rows": rows}))


def table_file(run: Run, of: str = "") -> Path:
    """Return where the latency table of a run's threads is, or would be; ``of``: what, if not the networks' layers."""
    parts = ("latency", str(run.threads), of, "quick" if run.quick else "")
    return WORK / f"{'-'.join(filter(None, parts))}.json"


def measured_table(path: Path, models: Sequence[Path], run: Run, *, grid: bool = False) -> LatencyTable:
    """Return a latency table, with what it lacked measured: of the models, or of usual layers and models as wholes."""
    return profile_models(
        models,
        path,
        schemes=QUICK_SCHEMES if run.quick else DEFAULT_SCHEMES,
        densities=DEFAULT_DENSITIES,
        timer=LocalTimer(run.threads),
        command=run.command,
        grid=grid,
        networks_only=grid,
    )


def _machine() -> Machine:
    return read_machine(resolve_target("native").name, find_compiler().version)
