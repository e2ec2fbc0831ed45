"""The command line: one file per verb; each parses, calls one function, prints and saves."""

from __future__ import annotations

import sys

from prunemap.cli import bench, compile, demo, inspect, map, profile, prune, run, train, verify
from prunemap.cli.app import app
from prunemap.cli.app import run as run_command_line

VERBS = (
    inspect.inspect,
    train.train,
    profile.profile,
    map.map_,
    prune.prune,
    compile.compile_,
    verify.verify,
    bench.bench,
    run.run,
    demo.demo,
)
for verb in VERBS:
    app.command(name=verb.__name__.rstrip("_"))(verb)


def main() -> None:
    """Entry point of the ``prunemap`` command."""
    sys.exit(run_command_line())
