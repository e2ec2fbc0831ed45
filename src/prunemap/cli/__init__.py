"""The command line: one file per verb; each parses, calls one function, prints and saves."""

from prunemap.cli.app import add_verb, app
from prunemap.cli.bench import bench
from prunemap.cli.compile import compile_
from prunemap.cli.demo import demo
from prunemap.cli.device import device
from prunemap.cli.export import export
from prunemap.cli.inspect import inspect
from prunemap.cli.map import map_
from prunemap.cli.page import page
from prunemap.cli.profile import profile
from prunemap.cli.prune import prune
from prunemap.cli.report import report
from prunemap.cli.run import run
from prunemap.cli.sensitivity import sensitivity
from prunemap.cli.train import train
from prunemap.cli.verify import verify

VERBS = (
    *(inspect, train, profile, sensitivity, map_, prune, compile_, verify),
    *(bench, export, page, run, device, report, demo),
)
for verb in VERBS:
    add_verb(verb)

__all__ = ["app"]
