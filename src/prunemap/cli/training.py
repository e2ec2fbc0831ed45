"""Options of the verbs that train, and what they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
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
Epochs = Annotated[int, typer.Option("--epochs", help="Epochs of training, after pruning of retraining.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Images per step.")]
LearningRate = Annotated[float, typer.Option("--lr", help="Largest learning rate.")]
TrainingThreads = Annotated[int, typer.Option("--threads", help="Threads; 0 = all cores.")]
Device = Annotated[str, typer.Option("--device", help="auto (the GPU where there is one), cpu or cuda.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run of the same settings.")]


def train_config(**settings: object) -> TrainConfig:
    """Return the config.

    Raises:
        UserError: a value is not allowed; all such are listed.
    """
    from prunemap.pruning import TrainConfig

    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        raise_option_errors(error, "training options")
        raise


def raise_option_errors(error: ValidationError, what: str, names: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raise UserError with every problem under the option that the user typed.

    Args:
        names: of options that are not called like their field.
    """
    problems = Problems(what)
    problems.extend(option_problems(error, names))
    problems.raise_if_any()


def option_problems(error: ValidationError, names: Mapping[str, str]) -> Iterator[str]:
    """Yield every problem under the option that the user typed; see :func:`raise_option_errors`."""
    for one in error.errors(include_url=False):
        field = str(one["loc"][0]) if one["loc"] else ""
        name = names.get(field, "--" + field.replace("_", "-"))
        message = one["msg"].removeprefix("Value error, ").replace("one_shot", "one-shot")
        yield f"{name}: got {one['input']}: {message}" if field else message
