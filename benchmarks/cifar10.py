"""Networks trained and pruned on CIFAR-10: which accuracy is lost, against a control trained for as many epochs.

A row is one training: NETWORK-WAY-sSEED. ``dense`` is from scratch; every other way goes on from the dense network:
a ``control`` trains it on, the rest prune it and retrain what is left, for as many epochs in all as their control.
The test images are read once, at the end of a row; whatever is to be chosen is chosen on the 5,000 held-out training
images.

The data are a JPEG copy of CIFAR-10 in image-folder layout (train/<class>/*.jpg, test/<class>/*.jpg): accuracies are
not comparable with published ones. ``train_accuracy`` is that of 5,000 training images (in rows before 2026-11-28, of
all). ``minutes`` are those of a shared machine. Rows that the result file has are not
trained again, an interrupted one goes on where it was; the dense network that a row starts from is taken from
benchmarks/checkpoints, else trained first. Several processes may share the file. Networks to keep are written to
runs/cifar10/compact.

Rows called ``rules`` are pruned as `prunemap map` says: --latency is the table of `prunemap profile` for the exported
dense networks, on whatever machine. Their plans are kept in benchmarks/results/plans and taken from there, whatever
--latency says.

    .venv/bin/python benchmarks/cifar10.py --data-folder FOLDER -o RESULTS.csv [--only REGEX] [--latency TABLE.json]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch
from cifar10_rows import NETWORKS, ByRules, Network, Pruning, Way
from safetensors.torch import load_file

from prunemap.core.files import check_writable
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import read_json, write_json
from prunemap.datasets import Dataset, load_dataset
from prunemap.errors import UserError
from prunemap.mapping import map_model
from prunemap.pruning import (
    Kept,
    Masks,
    PruneConfig,
    PrunePhase,
    StageFiles,
    TrainConfig,
    TrainReport,
    build_described,
    choose_device,
    describe_model,
    evaluate,
    export_onnx,
    kept,
    list_layers,
    load_checkpoint,
    placed,
    prune_to_files,
    save_compact_checkpoint,
    train_to_files,
)
from prunemap.pruning.sensitivity import some_of

WORK = Path("runs") / "cifar10"
"""Where the files of the stages are kept between runs."""
EXPORTED = WORK / "exported"
CHECKPOINTS = Path(__file__).parent / "checkpoints"
PLANS = Path(__file__).parent / "results" / "plans"
"""Of the rows of the rules, kept: another table, or another version of the rules, gives others."""
TRAIN_IMAGES = 5000
"""Whose accuracy is measured at the end of a row."""


@dataclass(frozen=True)
class Row:
    """One training; ``way`` is None for the dense network."""

    network: Network
    way: Way | None
    seed: int

    @property
    def name(self) -> str:
        return f"{self.network.name}-{self.way.name if self.way else 'dense'}-s{self.seed}"

    @property
    def files(self) -> StageFiles:
        return StageFiles(WORK / f"{self.name}.safetensors")

    @property
    def start(self) -> Row:
        """The row that this one starts from."""
        return Row(self.network, None, self.seed)

    @property
    def epochs(self) -> int:
        """Of this training and of what it starts from."""
        return self.network.epochs + (self.way.epochs if self.way else 0)


@dataclass(frozen=True)
class Study:
    """What is common to the rows of a run."""

    data: Dataset
    command: str
    device: Literal["auto", "cpu", "cuda"]
    table: Path | None = None
    """latency.json for the rows of the rules."""

    def config(self, row: Row, epochs: int) -> TrainConfig:
        return TrainConfig(
            epochs=epochs,
            batch_size=256,
            lr=0.05 if row.way else 0.1,
            label_smoothing=0.1,
            distillation=row.way.distillation if row.way else 0.0,
            seed=row.seed,
            device=self.device,
        )

    def train(self, row: Row) -> TrainReport:
        """Train a row, and before it what it starts from."""
        output, way = row.files.checkpoint, row.way
        if way is None:
            info = describe_model(row.network.model, row.network.options, self.data)
            config = self.config(row, row.network.epochs)
            return train_to_files(build_described(info, row.seed), info, self.data, config, output, resume=True)
        start, config = self.dense_checkpoint(row.start), self.config(row, way.epochs - way.prune_epochs)
        if way.pruning is None:
            return train_to_files(*load_checkpoint(start), self.data, config, output, resume=True)
        plan = self.plan_of(row, way.pruning)
        write_json(output.with_suffix(".plan.json"), plan)
        phase = PrunePhase(
            config=PruneConfig(method=way.method, density=way.density),
            training=self.config(row, way.prune_epochs) if way.prune_epochs else None,
        )
        return prune_to_files(start, plan, self.data, config, output, resume=True, phase=phase)

    def plan_of(self, row: Row, pruning: Pruning | ByRules) -> Plan:
        """Return the plan of a row: that of the rules, for the dense network that it starts from, is made once."""
        start, kept_plan = self.dense_checkpoint(row.start), plan_file(row)
        if isinstance(pruning, Pruning):
            return make_plan(start, pruning)
        if kept_plan.exists():
            return read_json(kept_plan, Plan, "plan")
        if self.table is None:
            raise UserError(f"--latency: none given, {row.name} needs the table of `prunemap profile`")
        module, info = load_checkpoint(start)
        model = EXPORTED / f"{row.start.name}.onnx"
        model.parent.mkdir(parents=True, exist_ok=True)
        export_onnx(module, torch.zeros(1, *info.input_shape), model)
        table = pruning.allowed(read_json(self.table, LatencyTable, "--latency"))
        plan = map_model(model, table, pruning.budget, beta=pruning.beta, force=True).plan
        kept_plan.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept_plan, plan)
        return plan

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
            train_accuracy = evaluate(module, some_of(self.data.train, TRAIN_IMAGES))
        return {
            "name": row.name,
            "seed": row.seed,
            "epochs": row.epochs,
            "device": _device_name(self.device),
            "scheme": _scheme_of(row.way),
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


def plan_file(row: Row) -> Path:
    """Return where the plan of a row of the rules is kept."""
    return PLANS / f"{row.name}.json"


def all_rows() -> list[Row]:
    """Return the rows of all networks."""
    return [Row(network, way, seed) for network in NETWORKS for seed in network.seeds for way in (None, *network.ways)]


def _scheme_of(way: Way | None) -> str:
    if way is None or way.pruning is None:
        return "dense"
    return way.pruning.scheme or "rules" if isinstance(way.pruning, ByRules) else way.pruning.scheme


def make_plan(checkpoint: Path, pruning: Pruning) -> Plan:
    """Return the plan for a network."""
    module, info = load_checkpoint(checkpoint)
    layers = list_layers(module, torch.zeros(1, *info.input_shape))
    entries = [
        PlanLayer.of(layer, SchemeSpec.parse(pruning.scheme), pruning.density(layer))
        if pruned
        else PlanLayer.of(layer, DENSE, 1.0)
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
    parser.add_argument(
        "--latency", type=Path, metavar="TABLE.json", help="of `prunemap profile`, for rows of the rules"
    )
    given = parser.parse_args()
    check_writable(given.output)
    wanted = [row for row in all_rows() if re.search(given.only, row.name) and row.name not in finished(given.output)]
    study = Study(
        load_dataset("image-folder", given.data_folder),
        f"benchmarks/cifar10.py --data-folder {given.data_folder.name} -o {given.output.name}"
        + (f" --latency {given.latency.name}" if given.latency else ""),
        given.device,
        given.latency,
    )
    for row in wanted:
        append(given.output, study.measure(row))


if __name__ == "__main__":
    main()
