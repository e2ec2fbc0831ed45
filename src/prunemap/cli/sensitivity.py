"""prunemap sensitivity"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prunemap.cli.options import Json, Output, numbers, parts, show
from prunemap.cli.training import Data, DataFolder, Device, Download, ImageSize, TrainingThreads

Checkpoint = Annotated[
    Path,
    typer.Argument(help="A trained network of `prunemap train`.", metavar="CHECKPOINT.safetensors", show_default=False),
]
Layers = Annotated[
    str, typer.Option("--layers", help="With commas: names, patterns such as layer2.*, kinds such as conv.")
]
Schemes = Annotated[
    str,
    typer.Option(
        "--schemes",
        help="With commas; default: unstructured,pattern,punched:4x1,block:4x1,filter, each where it is legal.",
        show_default=False,
    ),
]
Densities = Annotated[
    str, typer.Option("--densities", help="With commas; default: 0.05,0.1,0.2,0.4,0.7.", show_default=False)
]
Images = Annotated[int, typer.Option("--images", help="Held-out images to measure on, at most.")]
Reestimate = Annotated[
    bool, typer.Option("--reestimate-batchnorm", help="Measure batch norm again after every pruning: slower, milder.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", help="Draw it too: a .svg, .png or .pdf file.", show_default=False)
]


def sensitivity(
    checkpoint: Checkpoint,
    output: Output,
    data: Data = "fashion-mnist-subset",
    data_folder: DataFolder = None,
    download: Download = False,
    image_size: ImageSize = 224,
    layers: Layers = "*",
    schemes: Schemes = "",
    densities: Densities = "",
    images: Images = 1000,
    reestimate_batchnorm: Reestimate = False,
    plot: Plot = None,
    threads: TrainingThreads = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure what pruning each layer alone costs in accuracy: layer × scheme × density, one-shot, nothing trained.

    Accuracy is that on held-out training images. Every row is written as it comes; what the file has is not measured
    again, so after Ctrl-C the same command goes on. `prunemap map --sensitivity` reads the file.
    """
    from prunemap.report import check_plot, sensitivity_tables, write_sensitivity_plot

    if plot is not None:
        check_plot(plot)
    from prunemap.core.scheme_spec import SchemeSpec
    from prunemap.datasets import load_dataset
    from prunemap.pruning import load_checkpoint_for, use_threads
    from prunemap.pruning import sensitivity as measure_sensitivity
    from prunemap.pruning.sensitivity import DEFAULT_DENSITIES, DEFAULT_SCHEMES

    use_threads(threads)
    dataset = load_dataset(data, data_folder, download=download, image_size=image_size)
    module, _ = load_checkpoint_for(checkpoint, dataset)
    result = measure_sensitivity(
        module,
        dataset,
        output,
        layers=parts(layers),
        schemes=[SchemeSpec.parse(each) for each in parts(schemes)] or DEFAULT_SCHEMES,
        densities=numbers(densities, "--densities") or DEFAULT_DENSITIES,
        images=images,
        reestimate=reestimate_batchnorm,
        device=device,
        name=checkpoint.name,
        command=shlex.join(["prunemap", *sys.argv[1:]]),
    )
    if plot is not None:
        write_sensitivity_plot(result, plot)
    show(result, *sensitivity_tables(result), as_json=json)
