"""prunemap prune"""

from __future__ import annotations

from pathlib import Path

from prunemap.cli.options import Json, Output, Seed, show
from prunemap.cli.pruning import (
    Distillation,
    KeptMacs,
    Method,
    PlanFile,
    PruneEpochs,
    ReestimateBatchNorm,
    Source,
    Strength,
)
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
    checkpoint: Source,
    plan: PlanFile,
    output: Output,
    data: Data = "fashion-mnist-subset",
    data_folder: DataFolder = None,
    download: Download = False,
    image_size: ImageSize = 224,
    method: Method = "one-shot",
    prune_epochs: PruneEpochs = 5,
    lam: Strength = None,
    density: KeptMacs = None,
    distillation: Distillation = 0.0,
    reestimate_batchnorm: ReestimateBatchNorm = False,
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

    Writes NAME.safetensors and, beside it, NAME.onnx (zeros in place), NAME.masks.safetensors and NAME.json. An ONNX
    file is pruned in one shot, without any data, to one more ONNX file; the rest of it stays as it is.
    """
    if checkpoint.suffix == ".onnx":
        _prune_onnx(checkpoint, read_json(plan, Plan, "--plan"), output, as_json=json)
        return
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


def _prune_onnx(model: Path, plan: Plan, output: Path, *, as_json: bool) -> None:
    from prunemap.benchmarking.pruned_onnx import prune_onnx
    from prunemap.report import onnx_pruning_table

    result = prune_onnx(model, plan, output)
    show(result, onnx_pruning_table(result, output), as_json=as_json)
