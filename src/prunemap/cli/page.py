"""prunemap page"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from prunemap.cli.options import Cc, Json, show


def page(
    pruned: Annotated[
        Path, typer.Argument(help="Checkpoint of `prunemap prune`.", metavar="PRUNED.safetensors", show_default=False)
    ],
    dense: Annotated[
        Path, typer.Argument(help="Checkpoint of `prunemap train`.", metavar="DENSE.safetensors", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.", show_default=False)],
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Folder of pictures to put in; default: drawn ones.", show_default=False),
    ] = None,
    cc: Cc = None,
    json: Json = False,
) -> None:
    """Make a web page that classifies pictures with a network pruned and dense, and times both.

    The folder is served as it is, such as by `python -m http.server --directory FOLDER`. See docs/web-demo.md.
    """
    from prunemap.exporting.page import export_page
    from prunemap.report.text import size

    result = export_page(pruned, dense, output, pictures=pictures, cc=cc)
    weights = ", ".join(f"weights of {name} {size(count)}" for name, count in result.weight_bytes.items())
    text = f"page → {result.path}: {size(result.size_bytes)}, {weights}"
    serve = f"\nto see it: python -m http.server --directory {result.path}, then http://localhost:8000"
    show(result, Text(text + serve), as_json=json)
