"""prunemap prune"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.options import Json, Seed, Shapes, parse_shapes, show
from prunemap.cli.pruning import (
    Distillation,
    KeptMacs,
    Latency,
    LatencyMs,
    Method,
    PlanFile,
    PruneEpochs,
    PruneOutput,
    ReestimateBatchNorm,
    Source,
    Strength,
    check_checkpoint_options,
    check_onnx_options,
    prune_config,
    prune_phase,
)
from prunemap.cli.recipe import Changes, PrintSchema, RecipeFile, check_given, recipe_changes, run_recipe_file
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
from prunemap.errors import UserError

if TYPE_CHECKING:
    from prunemap.pruning import TrainReport


def prune(
    context: typer.Context,
    checkpoint: Source = None,
    plan: PlanFile = None,
    output: PruneOutput = None,
    recipe: RecipeFile = None,
    changes: Changes = None,
    recipe_schema: PrintSchema = False,
    data: Data = "fashion-mnist-subset",
    data_folder: DataFolder = None,
    download: Download = False,
    image_size: ImageSize = 224,
    method: Method = "one-shot",
    prune_epochs: PruneEpochs = 5,
    lam: Strength = None,
    density: KeptMacs = None,
    latency_ms: LatencyMs = None,
    latency: Latency = None,
    distillation: Distillation = 0.0,
    reestimate_batchnorm: ReestimateBatchNorm = False,
    epochs: Epochs = 10,
    batch_size: BatchSize = 128,
    lr: LearningRate = 0.05,
    seed: Seed = 0,
    threads: TrainingThreads = 0,
    device: Device = "auto",
    resume: Resume = False,
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Prune a trained network by a plan and retrain it; pruned weights stay zero. --epochs 0 only prunes.

    Writes NAME.safetensors and, beside it, NAME.onnx (zeros in place), NAME.masks.safetensors and NAME.json. An ONNX
    file is pruned in one shot, without any data, to one more ONNX file; the rest of it stays as it is.

    With --recipe a YAML file says all of it, for any network of the zoo or of your own (whose code is run), several
    seeds, a dense control; -o is then a folder. On several GPUs: torchrun --nproc-per-node N -m prunemap prune …
    """
    if recipe_schema or recipe is not None or changes:
        _by_recipe(context, recipe, changes or [], resume=resume, as_json=json)
        return
    check_given({"DENSE.safetensors or MODEL.onnx": checkpoint, "--plan": plan, "-o/--output": output})
    assert checkpoint is not None and plan is not None and output is not None, "checked"
    if checkpoint.suffix == ".onnx":
        check_onnx_options(context)
        _prune_onnx(checkpoint, read_json(plan, Plan, "--plan"), output, parse_shapes(shape), as_json=json)
        return
    check_checkpoint_options(context, method)
    shared = {"batch_size": batch_size, "lr": lr, "seed": seed, "device": device, "distillation": distillation}
    settings, config = train_config(epochs=epochs or 1, **shared), prune_config(method, lam, density, latency_ms)
    training = None if config.method == "one_shot" else train_config(epochs=prune_epochs, **shared)
    phase = prune_phase(config, training, latency, reestimate_batchnorm=reestimate_batchnorm)
    wanted = read_json(plan, Plan, "--plan")
    from prunemap.datasets import load_dataset
    from prunemap.pruning import prune_to_files, use_threads

    use_threads(threads)
    dataset = load_dataset(data, data_folder, download=download, image_size=image_size)
    stage = (checkpoint, wanted, dataset, settings if epochs else None, output, resume)
    _show_first(partial(prune_to_files, *stage, phase=phase, device=device), device, as_json=json)


def _show_first(run: Callable[[], TrainReport], device: str, *, as_json: bool) -> None:
    """Run a stage in all processes of ``torchrun``; the first one prints its report."""
    from prunemap.pruning.training.distributed import is_first, processes_of_torchrun
    from prunemap.report import training_tables

    with processes_of_torchrun(device):
        report = run()
        if is_first():
            show(report, *training_tables(report), as_json=as_json)


def _by_recipe(context: typer.Context, recipe: Path | None, changes: list[str], *, resume: bool, as_json: bool) -> None:
    if context.params["recipe_schema"]:
        from prunemap.pruning.recipes.file import recipe_schema

        print(recipe_schema(), end="")
        return
    from prunemap.report import recipe_tables

    if recipe is None:
        raise UserError("--set: it changes a recipe; give --recipe FILE.yaml")
    summary = run_recipe_file(recipe, recipe_changes(context, changes), resume=resume)
    if summary is not None:
        show(summary, *recipe_tables(summary), as_json=as_json)


def _prune_onnx(model: Path, plan: Plan, output: Path, shapes: Mapping[str, tuple[int, ...]], *, as_json: bool) -> None:
    from prunemap.benchmarking.pruned_onnx import prune_onnx
    from prunemap.report import onnx_pruning_table

    result = prune_onnx(model, plan, output, shapes=shapes)
    show(result, onnx_pruning_table(result, output), as_json=as_json)
    if result.verified is not None and not result.verified.passed:
        raise typer.Exit(EXIT_FAILED_CHECK)
