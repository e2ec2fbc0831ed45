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
    method: Annotated[
        str, typer.Option("--method", help="one-shot, reweighted, gradual or admm; all but one-shot train meanwhile.")
    ] = "one-shot",
    prune_epochs: Annotated[
        int, typer.Option("--prune-epochs", help="Epochs in which the weights to prune are found; not for one-shot.")
    ] = 5,
    lam: Annotated[
        float | None,
        typer.Option("--lambda", help="Strength of the penalty of reweighted or admm.", show_default=False),
    ] = None,
    density: Annotated[
        float | None,
        typer.Option(
            "--density",
            help="MACs to keep of the layers that the plan prunes: one threshold for all of them instead of the "
            "plan's densities.",
            show_default=False,
        ),
    ] = None,
    distillation: Annotated[
        float, typer.Option("--distillation", help="Weight of the dense network's outputs in the loss, 0 to 1.")
    ] = 0.0,
    reestimate_batchnorm: Annotated[
        bool, typer.Option("--reestimate-batchnorm", help="Measure batch norm again before the retraining.")
    ] = False,
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
    from prunemap.pruning import PruneConfig, PrunePhase, prune_to_files, use_threads
    from prunemap.report import training_table

    shared = {"batch_size": batch_size, "lr": lr, "seed": seed, "device": device, "distillation": distillation}
    settings = train_config(epochs=epochs or 1, **shared)
    config = settings if epochs else None
    found = PruneConfig.of({"method": method.replace("-", "_"), "lam": lam, "density": density})
    phase = PrunePhase(
        config=found,
        training=None if found.method == "one_shot" else train_config(epochs=prune_epochs, **shared),
        reestimate_batchnorm=reestimate_batchnorm,
    )
    use_threads(threads)
    wanted = read_json(plan, Plan, "--plan")
    dataset = load_dataset(data, data_folder, download=download, image_size=image_size)
    report = prune_to_files(checkpoint, wanted, dataset, config, output, resume, phase=phase, device=settings.device)
    show(report, training_table(report), as_json=json)
