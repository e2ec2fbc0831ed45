"""The claims of the demo: runs it (or reuses runs/demo) and keeps its summary in benchmarks/results.

.venv/bin/python benchmarks/demo.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from prunemap.core.value import write_json
from prunemap.pipeline import DemoConfig, run_demo
from prunemap.report import demo_tables

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else "runs/demo"
    summary = run_demo(folder, DemoConfig())
    bench = summary.bench.model_copy(update={"model": Path(summary.bench.model).name, "command": "make bench"})
    summary = summary.model_copy(update={"bench": bench})  # without the paths of the machine
    machine, day = summary.bench.machine, summary.bench.date[:10]
    write_json(RESULTS / f"demo-{machine.target}-{day}.json", summary)
    for table in demo_tables(summary):
        Console().print(table)


if __name__ == "__main__":
    main()
