"""Damaged and twisted ONNX and .pmap files: how many mutations end in a result or in a clear error, and which do not.

Each trial mutates a valid file (small networks, ONNX's own node tests, compiled programs) by a number of its own, then
does with it all that is done with a good one. Trials run in a child process with a time and a memory limit, so that a
crash, a hang or endless memory is an outcome too. A run that was interrupted goes on where it was.

    .venv/bin/python -m benchmarks.fuzz [--count N] [--seed S] [--trial NUMBER] [--fresh]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import re
import resource
import shlex
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from onnx.backend.test.case.node import collect_testcases
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from prunemap.core.files import write_text
from prunemap.core.value import now
from prunemap.targets import NATIVE, resolve_target
from tests.fuzz.seeds import seed_models, seed_programs
from tests.fuzz.trial import DEFECT, Result, try_onnx, try_pmap

ROOT = Path(__file__).parent.parent
STATE = ROOT / "runs" / "fuzz"
RESULTS = Path(__file__).parent / "results"
COUNT = 10_000
PER_CHILD = 200
LIMIT_SECONDS = 60
"""Of one trial; a C compiler may run in it."""
LIMIT_BYTES = 6 << 30
COMPILED_SHARE = 0.03
PMAP_EVERY, NODE_TEST_SHARE = 5, 0.5
LARGEST_NODE_TEST = 20_000


@dataclass(frozen=True)
class Sources:
    """The valid files, by name."""

    networks: Mapping[str, bytes]
    node_tests: Mapping[str, bytes]
    programs: Mapping[str, bytes]


def read_sources() -> Sources:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the node tests compute what is expected, some overflow
        tests = {test.name: test.model.SerializeToString() for test in collect_testcases(None) if test.model}
    small = {name: data for name, data in tests.items() if len(data) <= LARGEST_NODE_TEST}
    return Sources(seed_models(), small, seed_programs())


def run_trial(number: int, seed: int, sources: Sources, folder: Path) -> Result:
    rng = np.random.default_rng([seed, number])
    for file in folder.iterdir():
        file.unlink()
    if number % PMAP_EVERY == 0:
        return try_pmap(sources.programs, rng, folder)
    models = sources.node_tests if rng.random() < NODE_TEST_SHARE else sources.networks
    return try_onnx(models, rng, folder, COMPILED_SHARE)


def _work(pipe: Connection, numbers: range, seed: int, sources: Sources) -> None:
    """Send one result per trial; runs in a child."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="prunemap-fuzz-") as folder:
        for number in numbers:
            pipe.send(run_trial(number, seed, sources, Path(folder)))


def results_of(numbers: range, seed: int, sources: Sources) -> Iterator[Result]:
    """Run trials in a child process; a trial that it does not survive is the last one."""
    fork = multiprocessing.get_context("fork")
    mine, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_work, args=(theirs, numbers, seed, sources))
    child.start()
    theirs.close()
    try:
        for _ in numbers:
            if not mine.poll(LIMIT_SECONDS):
                yield Result("?", (), DEFECT, f"hang: more than {LIMIT_SECONDS} s")
                return
            yield mine.recv()
    except EOFError:
        child.join()
        yield Result("?", (), DEFECT, f"crash: exit code {child.exitcode}")
    finally:
        child.kill()
        child.join()


def run_all(count: int, seed: int, state: Path, sources: Sources) -> list[Result]:
    """Run what is not done yet; every result is appended to ``state`` at once."""
    done = [_parsed(line) for line in state.read_text().splitlines()] if state.exists() else []
    state.parent.mkdir(parents=True, exist_ok=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), auto_refresh=False)
    with progress, state.open("a") as file:
        task = progress.add_task("fuzz", total=count, completed=len(done))
        while len(done) < count:
            for result in results_of(range(len(done), min(count, len(done) + PER_CHILD)), seed, sources):
                done.append(result)
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
                if result.outcome == DEFECT:
                    progress.console.print(f"{len(done) - 1}: {result.detail}", markup=False)
                progress.update(task, completed=len(done), refresh=len(done) % 20 == 0)
    return done[:count]


def _parsed(line: str) -> Result:
    raw = json.loads(line)
    return Result(raw["source"], tuple(raw["mutations"]), raw["outcome"], raw["detail"])


def summary_of(results: list[Result], seed: int) -> dict[str, object]:
    """Return what goes to the JSON file."""
    defects = [{"trial": i, **asdict(each)} for i, each in enumerate(results) if each.outcome == DEFECT]
    mutations = Counter(name for each in results for name in each.mutations)
    return {
        "command": shlex.join(["python", "-m", "benchmarks.fuzz", *sys.argv[1:]]),
        "date": now(),
        "versions": {name: version(name) for name in ("prunemap", "onnx", "numpy")}
        | {"python": platform.python_version()},
        "seed": seed,
        "trials": len(results),
        "limits": {"seconds": LIMIT_SECONDS, "bytes": LIMIT_BYTES},
        "outcomes": dict(Counter(each.outcome for each in results).most_common()),
        "mutations": dict(mutations.most_common()),
        "distinct_errors": len({re.sub(r"\d+|'[^']*'", "_", each.detail) for each in results if each.detail}),
        "defects": defects,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="how many mutations in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int, help="run this one alone and keep its file in runs/fuzz/trial")
    parser.add_argument("--fresh", action="store_true", help="begin anew instead of going on")
    options = parser.parse_args()
    sources, console = read_sources(), Console()
    if options.trial is not None:
        folder = STATE / "trial"
        folder.mkdir(parents=True, exist_ok=True)
        console.print(run_trial(options.trial, options.seed, sources, folder), markup=False)
        return
    state = STATE / f"seed-{options.seed}.jsonl"
    if options.fresh:
        state.unlink(missing_ok=True)
    began = time.monotonic()
    summary = summary_of(run_all(options.count, options.seed, state, sources), options.seed)
    path = RESULTS / f"fuzz-{resolve_target(NATIVE).name}-{str(summary['date'])[:10]}.json"
    write_text(path, json.dumps(summary, indent=1) + "\n")
    console.print(summary["outcomes"], f"in {time.monotonic() - began:.0f} s; written: {path}", markup=False)
    sys.exit(1 if summary["defects"] else 0)


if __name__ == "__main__":
    main()
