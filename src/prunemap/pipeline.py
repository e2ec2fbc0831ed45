"""The whole flow in one function: train → profile → map → prune → compile → verify → bench, file to file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prunemap.benchmarking import QUICK, BenchResult, Effort, VerifyResult, bench, open_subject, verify
from prunemap.compiler import compile_model, kernel_sources
from prunemap.core.latency_table import LatencyTable
from prunemap.core.plan import Plan
from prunemap.core.value import Value, read_json, write_json
from prunemap.core.workspace import Workspace
from prunemap.datasets import Dataset, load_dataset
from prunemap.errors import InternalError
from prunemap.latency import DEFAULT_DENSITIES, LocalTimer, profile_models
from prunemap.mapping import Budget, map_model
from prunemap.pruning import (
    StageFiles,
    TrainConfig,
    TrainReport,
    build_described,
    describe_model,
    load_checkpoint,
    prune_to_files,
    train_to_files,
)
from prunemap.report import DemoSummary
from prunemap.runtime import Engine

LATENCY, PLAN, PMAP, DENSE_PMAP = "latency.json", "plan.json", "pruned.pmap", "dense.pmap"
VERIFIED, BENCHED = "verify.json", "bench.json"
ENGINES = ("onnxruntime", "dense")
VERIFIED_IMAGES = 32


class DemoConfig(Value):
    """What the demo does; the defaults are those of ``make demo``."""

    model: str = "resnet8"
    data: str = "fashion-mnist-subset"
    dense: TrainConfig = TrainConfig(epochs=16, batch_size=64)
    retrain: TrainConfig = TrainConfig(epochs=14, batch_size=64)
    density: float = 0.2
    """Budget: kept / all MACs of the prunable layers."""
    densities: tuple[float, ...] = DEFAULT_DENSITIES
    effort: Effort = Effort()
    threads: int = 1
    """Of everything that is timed."""


QUICK_DEMO = DemoConfig(
    dense=TrainConfig(epochs=2, warmup_epochs=0.5, batch_size=64),
    retrain=TrainConfig(epochs=1, warmup_epochs=0.2, batch_size=64),
    densities=(0.1, 0.3),
    effort=QUICK,
)


def run_demo(folder: str | Path, config: DemoConfig, say: Callable[[str], None] = print) -> DemoSummary:
    """Run every stage in ``folder`` on real data; finished stages are reused, interrupted ones resumed.

    Args:
        say: told what happens.
    """
    files, work = DemoFiles(Path(folder)), Workspace(folder, say)
    data = load_dataset(config.data)

    work.stage(
        "train",
        partial(_train, files.dense, config.dense, config, data),
        settings=(config.model, config.data, config.dense),
        writes=files.dense.results,
    )
    work.stage(
        "train the control",
        partial(_train, files.control, config.retrain, config, data, files.dense.checkpoint),
        settings=(config.retrain,),
        reads=(files.dense.checkpoint,),
        writes=files.control.results,
    )
    work.stage(
        "profile",
        partial(_profile, files, config),
        settings=(config.densities, config.threads, LocalTimer(config.threads).machine()),
        reads=(files.dense.onnx,),
        writes=(files / LATENCY,),
    )
    work.stage(
        "map",
        partial(_map, files, config),
        settings=(config.density,),
        reads=(files.dense.onnx, files / LATENCY),
        writes=(files / PLAN,),
    )
    work.stage(
        "prune and retrain",
        partial(_prune, files, config, data),
        settings=(config.retrain,),
        reads=(files.dense.checkpoint, files / PLAN),
        writes=files.pruned.results,
    )
    _prove(work, files, config, data)
    return _summarise(files, config)


def _prove(work: Workspace, files: DemoFiles, config: DemoConfig, data: Dataset) -> None:
    """Compile, verify, bench: for this machine and these kernels."""
    machine = LocalTimer(config.threads).machine()
    work.stage(
        "compile",
        partial(_compile, files),
        settings=(machine, kernel_sources()),
        reads=(files.dense.onnx, files.pruned.onnx, files / PLAN),
        writes=(files / DENSE_PMAP, files / PMAP),
    )
    work.stage(
        "verify",
        partial(_verify, files, data),
        settings=(machine,),
        reads=(files / PMAP, files.pruned.onnx),
        writes=(files / VERIFIED,),
    )
    work.stage(
        "bench",
        partial(_bench, files, config, data),
        settings=(config.threads, config.effort, machine),
        reads=(files / PMAP, files.pruned.onnx),
        writes=(files / BENCHED,),
    )


@dataclass(frozen=True)
class DemoFiles:
    """Where everything lies."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def dense(self) -> StageFiles:
        """The trained network."""
        return StageFiles(self / "dense.safetensors")

    @property
    def control(self) -> StageFiles:
        """The dense network trained on, for as long as the pruned one is retrained."""
        return StageFiles(self / "control.safetensors")

    @property
    def pruned(self) -> StageFiles:
        """The pruned and retrained network."""
        return StageFiles(self / "pruned.safetensors")


def _train(files: StageFiles, config: TrainConfig, demo: DemoConfig, data: Dataset, start: Path | None = None) -> None:
    info = describe_model(demo.model, {}, data)
    module = build_described(info, config.seed) if start is None else load_checkpoint(start)[0]
    train_to_files(module, info, data, config, files.checkpoint, resume=True)


def _profile(files: DemoFiles, demo: DemoConfig) -> None:
    timer, output = LocalTimer(demo.threads), files / LATENCY
    if output.exists() and read_json(output, LatencyTable, "latency table").machine != timer.machine():
        output.unlink()  # measured on another machine or by another compiler: of no use here
    profile_models([files.dense.onnx], output, densities=demo.densities, timer=timer, command="prunemap demo")


def _map(files: DemoFiles, demo: DemoConfig) -> None:
    table = read_json(files / LATENCY, LatencyTable, "latency table")
    write_json(files / PLAN, map_model(files.dense.onnx, table, Budget(density=demo.density)).plan)


def _prune(files: DemoFiles, demo: DemoConfig, data: Dataset) -> None:
    plan = read_json(files / PLAN, Plan, "plan")
    prune_to_files(files.dense.checkpoint, plan, data, demo.retrain, files.pruned.checkpoint, resume=True)


def _compile(files: DemoFiles) -> None:
    compile_model(files.dense.onnx).save(files / DENSE_PMAP)
    plan = read_json(files / PLAN, Plan, "plan")
    compile_model(files.pruned.onnx, plan=plan).save(files / PMAP)


def _verify(files: DemoFiles, data: Dataset) -> None:
    images = [image[None] for image in data.sample_images(VERIFIED_IMAGES)]
    with Engine.load(files / PMAP) as engine:
        result = verify(engine, files.pruned.onnx, images)
    write_json(files / VERIFIED, result)
    if not result.passed:
        raise InternalError(f"the compiled network is off by {result.max_relative_error:.2g}; see {files / VERIFIED}")


def _bench(files: DemoFiles, demo: DemoConfig, data: Dataset) -> None:
    subject = open_subject(files / PMAP, demo.threads)
    write_json(files / BENCHED, bench(subject, ENGINES, data.sample_images(1), demo.effort, command="prunemap demo"))


def _summarise(files: DemoFiles, demo: DemoConfig) -> DemoSummary:
    control, pruned = (read_json(f.report, TrainReport, "report") for f in (files.control, files.pruned))
    return DemoSummary(
        model=demo.model,
        data=demo.data,
        test_images=pruned.test_images,
        control_accuracy=control.test_accuracy,
        pruned_accuracy=pruned.test_accuracy,
        conv_macs_kept=pruned.conv_macs_kept,
        macs_kept=pruned.macs_kept,
        weights_kept=pruned.weights_kept,
        dense_pmap_bytes=(files / DENSE_PMAP).stat().st_size,
        pruned_pmap_bytes=(files / PMAP).stat().st_size,
        verify=read_json(files / VERIFIED, VerifyResult, "verify result"),
        bench=read_json(files / BENCHED, BenchResult, "bench result"),
    )
