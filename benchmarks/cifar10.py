"""Networks trained and pruned on CIFAR-10: which accuracy is lost, against a control trained for as many epochs.

A row is one training: ``dense`` from scratch, ``control`` = dense trained on, ``pruned`` = dense pruned by magnitude in
one shot and retrained like the control. The test images are read once, at the end of a row; whatever is to be chosen
is chosen on the 5,000 held-out training images.

The data are a JPEG copy of CIFAR-10 in image-folder layout (train/<class>/*.jpg, test/<class>/*.jpg): accuracies are
not comparable with published ones. ``minutes`` are those of six trainings on one GPU. Rows that the result file has
are not trained again, an interrupted one goes on where it was; the dense network that a row starts from is taken from
benchmarks/checkpoints, else trained first. Several processes may share the file. Networks to keep are written to
runs/cifar10/compact.

    .venv/bin/python benchmarks/cifar10.py --data-folder FOLDER -o RESULTS.csv [--only REGEX]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file

from prunemap.core.files import check_writable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import write_json
from prunemap.datasets import Dataset, load_dataset
from prunemap.pruning import (
    Kept,
    Masks,
    StageFiles,
    TrainConfig,
    TrainReport,
    build_described,
    choose_device,
    describe_model,
    evaluate,
    kept,
    list_layers,
    load_checkpoint,
    placed,
    prune_to_files,
    save_compact_checkpoint,
    train_to_files,
)

WORK = Path("runs") / "cifar10"
"""Where the files of the stages are kept between runs."""
CHECKPOINTS = Path(__file__).parent / "checkpoints"
STAGES: tuple[Literal["dense", "control", "pruned"], ...] = ("dense", "control", "pruned")


@dataclass(frozen=True)
class Pruning:
    """What is pruned how far: convolutions of one kernel size; depthwise ones and the first stay dense."""

    kernel_size: int
    scheme: str
    densities: Mapping[int, float]
    """Side of the output map → density."""

    def density(self, layer: LayerSpec) -> float:
        assert layer.setting is not None, "a convolution has a setting"
        return self.densities[layer.setting.out_size[0]]


@dataclass(frozen=True)
class Network:
    """A network of the zoo, how it is trained and how it is pruned."""

    name: str
    model: str
    pruning: Pruning
    options: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    epochs: int = 100
    retrain_epochs: int = 36


VGG16 = Pruning(3, "punched:8x4", {32: 0.43, 16: 0.27, 8: 0.165, 4: 0.10, 2: 0.062})
"""Weights ≥ 10x and multiply-accumulates ≥ 5x fewer. Trained layers lose alike shares of energy at alike densities, so
density follows cost: the layers on large maps have the multiply-accumulates, those on small maps the weights."""
NETWORKS = (
    Network("resnet20", "resnet20", Pruning(3, "punched:8x1", dict.fromkeys((32, 16, 8), 0.385)), seeds=(0, 1, 2)),
    Network("vgg16-half", "vgg16-cifar", VGG16, {"width": 0.5}),
    Network("vgg16", "vgg16-cifar", VGG16),
    Network(
        "mobilenetv2",
        "mobilenetv2-cifar",
        Pruning(1, "punched:8x1", dict.fromkeys((32, 16, 8, 4), 0.325)),
        epochs=70,
        retrain_epochs=30,
    ),
)


@dataclass(frozen=True)
class Row:
    """One training."""

    network: Network
    stage: Literal["dense", "control", "pruned"]
    seed: int

    @property
    def name(self) -> str:
        return f"{self.network.name}-{self.stage}-s{self.seed}"

    @property
    def files(self) -> StageFiles:
        return StageFiles(WORK / f"{self.name}.safetensors")

    @property
    def start(self) -> Row:
        """The row that this one starts from."""
        return Row(self.network, "dense", self.seed)

    @property
    def epochs(self) -> int:
        """Of this training, without what it starts from."""
        return self.network.epochs if self.stage == "dense" else self.network.retrain_epochs


@dataclass(frozen=True)
class Study:
    """What is common to the rows of a run."""

    data: Dataset
    command: str
    device: str

    def config(self, row: Row) -> TrainConfig:
        return TrainConfig(
            epochs=row.epochs,
            batch_size=256,
            lr=0.1 if row.stage == "dense" else 0.05,
            label_smoothing=0.1,
            seed=row.seed,
            device=self.device,
        )

    def train(self, row: Row) -> TrainReport:
        """Train a row, and before it what it starts from."""
        output, config = row.files.checkpoint, self.config(row)
        if row.stage == "dense":
            info = describe_model(row.network.model, row.network.options, self.data)
            return train_to_files(build_described(info, row.seed), info, self.data, config, output, resume=True)
        start = self.dense_checkpoint(row.start)
        if row.stage == "control":
            return train_to_files(*load_checkpoint(start), self.data, config, output, resume=True)
        plan = make_plan(start, row.network.pruning)
        write_json(output.with_suffix(".plan.json"), plan)
        return prune_to_files(start, plan, self.data, config, output, resume=True)

    def dense_checkpoint(self, row: Row) -> Path:
        """Return the checkpoint of a dense row: of this run, else the one that is kept, else trained now."""
        stored = CHECKPOINTS / row.files.checkpoint.name
        if not row.files.report.exists() and stored.exists():
            return stored
        if not row.files.report.exists():
            self.train(row)
        return row.files.checkpoint

    def measure(self, row: Row) -> dict[str, object]:
        """Train a row and return its line of the result file."""
        began = time.monotonic()
        report = self.train(row)
        module, info = load_checkpoint(row.files.checkpoint)
        layers = list_layers(module, torch.zeros(1, *info.input_shape))
        masks: Masks = load_file(row.files.masks) if row.files.masks.exists() else {}
        save_compact_checkpoint(WORK / "compact" / row.files.checkpoint.name, module, info)
        convs, pointwise = (_kept_of(masks, layers, size) for size in (None, 1))
        with placed(module, choose_device(self.device)):
            train_accuracy = evaluate(module, self.data.train)
        return {
            "name": row.name,
            "seed": row.seed,
            "epochs": row.epochs if row.stage == "dense" else row.start.epochs + row.epochs,
            "device": _device_name(self.device),
            "scheme": row.network.pruning.scheme if masks else "dense",
            "train_accuracy": f"{train_accuracy:.4f}",
            "held_out_accuracy": f"{report.held_out_accuracy:.4f}",
            "test_accuracy": f"{report.test_accuracy:.4f}",
            "conv_weights_kept": f"{convs.weights:.4f}",
            "conv_macs_kept": f"{convs.macs:.4f}",
            "conv1x1_macs_kept": f"{pointwise.macs:.4f}" if pointwise.macs else "",
            "minutes": f"{(time.monotonic() - began) / 60:.1f}",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "command": f"{self.command} --only '^{row.name}$'",
        }


def make_plan(checkpoint: Path, pruning: Pruning) -> Plan:
    """Return the plan for a network."""
    module, info = load_checkpoint(checkpoint)
    layers = list_layers(module, torch.zeros(1, *info.input_shape))
    entries = [
        PlanLayer(
            name=layer.name,
            module=layer.module,
            kind=layer.kind,
            weight_shape=layer.weight_shape,
            scheme=SchemeSpec.parse(pruning.scheme) if pruned else DENSE,
            density=pruning.density(layer) if pruned else 1.0,
        )
        for layer in layers
        for pruned in [layer is not layers[0] and _kernel_size(layer) == pruning.kernel_size]
    ]
    return Plan(layers=tuple(entries))


def _kernel_size(layer: LayerSpec) -> int:
    """Return the side of a convolution's kernel, 0 for other layers, depthwise ones included."""
    return layer.weight_shape[-1] if layer.kind == "conv" else 0


def _kept_of(masks: Masks, layers: list[LayerSpec], kernel_size: int | None) -> Kept:
    """Return what is kept of the convolutions (of one kernel size)."""
    wanted = [layer for layer in layers if layer.kind != "linear" and kernel_size in (None, _kernel_size(layer))]
    return kept(masks, wanted)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if choose_device(device).type == "cuda" else "cpu"


def append(path: Path, line: Mapping[str, object]) -> None:
    """Add a line, in one write; the first one brings the header."""
    with suppress(FileExistsError), path.open("x") as file:
        csv.writer(file, lineterminator="\n").writerow(line)
    text = io.StringIO()
    csv.DictWriter(text, line.keys(), lineterminator="\n").writerow(line)
    with path.open("a") as file:
        file.write(text.getvalue())


def finished(path: Path) -> set[str]:
    """Return the names of the rows in a result file."""
    if not path.exists():
        return set()
    with path.open() as file:
        return {line["name"] for line in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", default="", help="regular expression of rows, such as resnet20-pruned")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    given = parser.parse_args()
    check_writable(given.output)
    rows = [Row(network, stage, seed) for network in NETWORKS for seed in network.seeds for stage in STAGES]
    wanted = [row for row in rows if re.search(given.only, row.name) and row.name not in finished(given.output)]
    study = Study(
        load_dataset("image-folder", given.data_folder),
        f"benchmarks/cifar10.py --data-folder {given.data_folder.name} -o {given.output.name}",
        given.device,
    )
    for row in wanted:
        append(given.output, study.measure(row))


if __name__ == "__main__":
    main()
