"""Options of `prunemap prune` that say what is pruned and how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from prunemap.cli.training import raise_option_errors

if TYPE_CHECKING:
    from prunemap.pruning import PruneConfig, PrunePhase, TrainConfig

Source = Annotated[
    Path | None,
    typer.Argument(
        help="A trained network of `prunemap train`, or any ONNX file.",
        metavar="{DENSE.safetensors|MODEL.onnx}",
        show_default=False,
    ),
]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="plan.json of `prunemap map`.", show_default=False)]
PruneOutput = Annotated[
    Path | None, typer.Option("-o", "--output", help="Where to write the result.", show_default=False)
]
Method = Annotated[
    str, typer.Option("--method", help="one-shot, reweighted, gradual or admm; all but one-shot train meanwhile.")
]
PruneEpochs = Annotated[
    int, typer.Option("--prune-epochs", min=1, help="Epochs in which the weights to prune are found; not for one-shot.")
]
Strength = Annotated[
    float | None,
    typer.Option("--lambda", help="Strength of the penalty of reweighted or admm.", show_default=False),
]
KeptMacs = Annotated[
    float | None,
    typer.Option(
        "--density",
        help="MACs to keep of the layers that the plan prunes: one threshold for all of them instead of the plan's "
        "densities.",
        show_default=False,
    ),
]
Distillation = Annotated[
    float, typer.Option("--distillation", help="Weight of the dense network's outputs in the loss, 0 to 1.")
]
ReestimateBatchNorm = Annotated[
    bool, typer.Option("--reestimate-batchnorm", help="Measure batch norm again before the retraining.")
]
OPTION_NAMES = {"lam": "--lambda"}
"""Of fields whose option has another name."""


def prune_config(method: str, lam: float | None, density: float | None) -> PruneConfig:
    """Return the config.

    Raises:
        UserError: a value is not allowed; all such are listed.
    """
    from prunemap.pruning import PruneConfig

    try:
        return PruneConfig.model_validate({"method": method.replace("-", "_"), "lam": lam, "density": density})
    except ValidationError as error:
        raise_option_errors(error, "pruning options", OPTION_NAMES)
        raise


def prune_phase(config: PruneConfig, training: TrainConfig | None, *, reestimate_batchnorm: bool) -> PrunePhase:
    """Return how the weights to prune are found."""
    from prunemap.pruning import PrunePhase

    return PrunePhase(config=config, training=training, reestimate_batchnorm=reestimate_batchnorm)
