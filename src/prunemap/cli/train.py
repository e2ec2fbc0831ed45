"""prunemap train"""

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
from prunemap.errors import UserError


def train(
    model: Annotated[str, typer.Argument(help="A network of the zoo: resnet8, resnet20, …", show_default=False)],
    output: Output,
    data: Data = "fashion-mnist-subset",
    data_folder: DataFolder = None,
    download: Download = False,
    image_size: ImageSize = 224,
    width: Annotated[float, typer.Option("--width", help="Width factor of the network.")] = 1.0,
    start: Annotated[
        Path | None, typer.Option("--start", help="Begin with the weights of this checkpoint.", show_default=False)
    ] = None,
    epochs: Epochs = 10,
    batch_size: BatchSize = 128,
    lr: LearningRate = 0.1,
    seed: Seed = 0,
    threads: TrainingThreads = 0,
    device: Device = "auto",
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Train a network of the zoo. Writes NAME.safetensors and, beside it, NAME.onnx and NAME.json."""
    from prunemap.datasets import load_dataset
    from prunemap.pruning import build_described, describe_model, load_checkpoint, train_to_files, use_threads
    from prunemap.pruning.training.distributed import is_first, processes_of_torchrun
    from prunemap.report import training_table

    config = train_config(epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=device)
    use_threads(threads)
    dataset = load_dataset(data, data_folder, download=download, image_size=image_size)
    info = describe_model(model, {"width": width}, dataset)
    module = build_described(info, seed)
    if start is not None:
        module, found = load_checkpoint(start)
        if (found.model, found.options) != (info.model, info.options):
            was, wanted = (f"{each.model} {each.options}" for each in (found, info))
            raise UserError(f"--start: {start} holds {was}, asked for is {wanted}")
    with processes_of_torchrun(device):
        report = train_to_files(module, info, dataset, config, output, resume)
        if is_first():
            show(report, training_table(report), as_json=json)
