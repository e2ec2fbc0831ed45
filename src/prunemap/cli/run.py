"""prunemap run"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import typer

from prunemap.cli.inputs import load_inputs
from prunemap.cli.options import Artifact, Threads


def run(
    artifact: Artifact,
    given: Annotated[
        Path,
        typer.Argument(
            help="An array, arrays by input name, or a picture.", metavar="INPUT.npy|.npz|IMAGE", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The outputs by name, .npz.", show_default=False)],
    mean: Annotated[
        str, typer.Option("--mean", help="Of a picture's channels, scale 0 to 1: 0.485,0.456,0.406.")
    ] = "0",
    std: Annotated[str, typer.Option("--std", help="Of a picture's channels.")] = "1",
    threads: Threads = 1,
) -> None:
    """Run a compiled network once. Loading a .pmap executes the code in it: run only files that you trust."""
    import numpy as np
    from rich.console import Console

    from prunemap.core.files import check_writable, replacing
    from prunemap.runtime import load

    check_writable(output)
    with load(artifact, threads) as engine:
        outputs = engine.run(load_inputs(given, engine.inputs, mean, std))
        named = {info.name: value for info, value in zip(engine.outputs, outputs, strict=True)}
    with replacing(output) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, value in named.items():  # np.savez refuses some names
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, value)
    for name, value in named.items():
        best = f", largest at {int(value.argmax())}" if value.ndim == 2 and len(value) == 1 else ""
        Console().print(f"{name} {list(value.shape)}{best} → {output}", highlight=False, markup=False)
