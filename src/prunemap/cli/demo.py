"""prunemap demo"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from prunemap.cli.options import Json, show


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of everything that is made.")] = Path(
        "runs/demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Two minutes: few epochs, few measurements.")] = False,
    json: Json = False,
) -> None:
    """Run the whole flow on real data, from training to a verified, faster program, and end in one table.

    Finished stages of an earlier run in the folder are reused, an interrupted one goes on.
    """
    from prunemap.pipeline import QUICK_DEMO, DemoConfig, run_demo
    from prunemap.report import demo_tables

    console = Console(stderr=True, highlight=False)
    summary = run_demo(output, QUICK_DEMO if quick else DemoConfig(), lambda text: console.print(f"• {text}"))
    show(summary, *demo_tables(summary), as_json=json)
