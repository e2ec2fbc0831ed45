"""prunemap report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunemap.cli.options import Output


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="A folder of `prunemap demo` or `prunemap prune --recipe`.", metavar="RUN", show_default=False
        ),
    ],
    output: Output,
) -> None:
    """Write one HTML file about a run: figures, layers, latency charts, training curves, machine and commands.

    It needs neither the net nor the folder to be read, and says nothing of where things lie on this machine. What the
    folder lacks is left out.
    """
    from prunemap.report import write_report

    write_report(run, output)
    print(output)
