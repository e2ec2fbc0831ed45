"""prunemap prune"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunemap.cli.options import Json, Output, Seed, show
from prunemap.cli.training import (
    BatchSize,
    Data,
    DataFolder,
    Device,
    Download,
    Epochs,
    ImageSize,
    LearningRate,
    Resume,
    TrainingThreads,
    train_config,
)
from prunemap.core.plan import Plan
from prunemap.core.value import read_json


def prune(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A trained network of `prunemap train`.", metavar="DENSE.safetensors", show_default=False),
    ],
    plan: Annotated[Path, typer.Option("--plan", help="plan.json of `prunemap map`.", show_default=False)],
    output: Output,
    data: Data = "fashion-mnist-subset",
    data_folder: DataFolder = None,
    download: Download = False,
    image_size: ImageSize = 224,
    epochs: Epochs = 10,
    batch_size: BatchSize = 128,
    lr: LearningRate = 0.05,
    seed: Seed = 0,
    threads: TrainingThreads = 0,
    device: Device = "auto",
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Prune a trained network by a plan and retrain it; pruned weights stay zero. --epochs 0 only prunes.

    Writes NAME.safetensors and, beside it, NAME.onnx (zeros in place), NAME.masks.safetensors and NAME.json.
    """
    from prunemap.datasets import load_dataset
    from prunemap.pruning import prune_to_files, use_threads
    from prunemap.report import training_table

    settings = train_config(epochs=epochs or 1, batch_size=batch_size, lr=lr, seed=seed, device=device)
    config = settings if epochs else None
    use_threads(threads)
    wanted = read_json(plan, Plan, "--plan")
    dataset = load_dataset(data, data_folder, download=download, image_size=image_size)
    report = prune_to_files(checkpoint, wanted, dataset, config, output, resume, device=settings.device)
    show(report, training_table(report), as_json=json)
