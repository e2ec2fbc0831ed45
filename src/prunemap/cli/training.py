"""Options of the verbs that train, and what they become."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from prunemap.errors import Problems

if TYPE_CHECKING:
    from prunemap.pruning import TrainConfig

Data = Annotated[
    str, typer.Option("--data", help="fashion-mnist-subset (bundled), fashion-mnist, cifar10, image-folder.")
]
DataFolder = Annotated[
    Path | None, typer.Option("--data-folder", help="Where its files are; default data/NAME.", show_default=False)
]
Download = Annotated[bool, typer.Option("--download", help="Download what is missing (checked by its hash).")]
ImageSize = Annotated[int, typer.Option("--image-size", help="Pixels per side of photographs (image-folder).")]
Epochs = Annotated[int, typer.Option("--epochs", help="Epochs.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Images per step.")]
LearningRate = Annotated[float, typer.Option("--lr", help="Largest learning rate.")]
TrainingThreads = Annotated[int, typer.Option("--threads", help="Threads; 0 = all cores.")]
Device = Annotated[str, typer.Option("--device", help="auto (the GPU where there is one), cpu or cuda.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run of the same settings.")]


def train_config(epochs: int, **settings: object) -> TrainConfig:
    """Return the config; the warm-up is an epoch, or a quarter of a run shorter than four.

    Raises:
        UserError: a value is not allowed; all such are listed.
    """
    from prunemap.pruning import TrainConfig

    try:
        warmup = {"warmup_epochs": min(1.0, max(epochs, 1) / 4)}
        return TrainConfig.model_validate({"epochs": epochs, **warmup, **settings})
    except ValidationError as error:
        problems = Problems("training options")
        for one in error.errors(include_url=False):
            name = "--" + str(one["loc"][0]).replace("_", "-") if one["loc"] else "options"
            problems.add(f"{name}: got {one['input']}: {one['msg']}" if one["loc"] else one["msg"])
        problems.raise_if_any()
        raise
