"""Options of `prunemap prune` that say what is pruned and how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from prunemap.cli.options import typed_options
from prunemap.cli.training import raise_option_errors
from prunemap.errors import Problems, UserError

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
LatencyMs = Annotated[
    float | None,
    typer.Option(
        "--latency-ms",
        help="Predicted milliseconds, met by one threshold for all layers that the plan prunes; needs --latency.",
        show_default=False,
    ),
]
Latency = Annotated[
    Path | None,
    typer.Option("--latency", help="latency.json of `prunemap profile`, for --latency-ms.", show_default=False),
]
Distillation = Annotated[
    float, typer.Option("--distillation", help="Weight of the dense network's outputs in the loss, from 0 to below 1.")
]
ReestimateBatchNorm = Annotated[
    bool, typer.Option("--reestimate-batchnorm", help="Measure batch norm again before the retraining.")
]
OPTION_NAMES = {"lam": "--lambda"}
"""Of fields whose option has another name."""
WITH_ONNX = ("checkpoint", "plan", "output", "shape", "json")
"""What goes with an ONNX file."""


def check_onnx_options(context: typer.Context) -> None:
    """Check that nothing was asked for that pruning an ONNX file does not do.

    Raises:
        UserError: it was; all such options are listed.
    """
    problems = Problems("an ONNX file is pruned in one shot to the densities of the plan, without data; not allowed is")
    for name, typed in typed_options(context).items():
        if name not in WITH_ONNX:
            problems.add(typed)
    problems.raise_if_any(limit=20)


def check_checkpoint_options(context: typer.Context, method: str) -> None:
    """Check that nothing was asked for that pruning a checkpoint by a method does not do.

    Raises:
        UserError: it was; all such options are listed.
    """
    typed, problems = typed_options(context), Problems("options that go with something else")
    if "shape" in typed:
        problems.add("--shape: for ONNX files")
    if "prune_epochs" in typed and method == "one-shot":
        problems.add("--prune-epochs: one-shot trains only afterwards (--epochs)")
    problems.raise_if_any()


def prune_config(method: str, lam: float | None, density: float | None, latency_ms: float | None) -> PruneConfig:
    """Return the config.

    Raises:
        UserError: a value is not allowed; all such are listed.
    """
    from prunemap.pruning import PruneConfig

    try:
        settings = {"lam": lam, "density": density, "latency_ms": latency_ms}
        return PruneConfig.model_validate({"method": method.replace("-", "_"), **settings})
    except ValidationError as error:
        raise_option_errors(error, "pruning options", OPTION_NAMES)
        raise


def prune_phase(
    config: PruneConfig, training: TrainConfig | None, latency: Path | None, *, reestimate_batchnorm: bool
) -> PrunePhase:
    """Return how the weights to prune are found.

    Raises:
        UserError: a latency without the table that predicts it, or the other way round.
    """
    from prunemap.pruning import PrunePhase

    if (latency is None) != (config.latency_ms is None):
        raise UserError("--latency and --latency-ms: got one of them; a budget needs the table that predicts it")
    return PrunePhase(config=config, training=training, latency=latency, reestimate_batchnorm=reestimate_batchnorm)
