"""Pruning of torch modules: masks by plan, one-shot pruning, (masked) training, checkpoints, ONNX export."""

from prunemap.pruning.export import export_checkpoint, export_onnx
from prunemap.pruning.layers import list_layers
from prunemap.pruning.masks import Kept, Masks, kept
from prunemap.pruning.one_shot import prune
from prunemap.pruning.prune_config import PruneConfig
from prunemap.pruning.pruner import Pruner
from prunemap.pruning.rates import LayerRate, PrunedRates
from prunemap.pruning.recipes.stage_files import PrunePhase, StageFiles, TrainReport
from prunemap.pruning.recipes.stages import prune_to_files, train_to_files, use_threads
from prunemap.pruning.sensitivity import sensitivity
from prunemap.pruning.training.batchnorm import reestimate_batchnorm
from prunemap.pruning.training.checkpoint import (
    ModelInfo,
    build_described,
    describe_model,
    load_checkpoint,
    load_checkpoint_for,
    save_checkpoint,
    save_compact_checkpoint,
)
from prunemap.pruning.training.device import choose_device, placed
from prunemap.pruning.training.evaluate import evaluate
from prunemap.pruning.training.train import train
from prunemap.pruning.training.train_config import EpochRecord, History, TrainConfig

__all__ = [
    "EpochRecord",
    "History",
    "Kept",
    "LayerRate",
    "Masks",
    "ModelInfo",
    "PruneConfig",
    "PrunePhase",
    "PrunedRates",
    "Pruner",
    "StageFiles",
    "TrainConfig",
    "TrainReport",
    "build_described",
    "choose_device",
    "describe_model",
    "evaluate",
    "export_checkpoint",
    "export_onnx",
    "kept",
    "list_layers",
    "load_checkpoint",
    "load_checkpoint_for",
    "placed",
    "prune",
    "prune_to_files",
    "reestimate_batchnorm",
    "save_checkpoint",
    "save_compact_checkpoint",
    "sensitivity",
    "train",
    "train_to_files",
    "use_threads",
]
