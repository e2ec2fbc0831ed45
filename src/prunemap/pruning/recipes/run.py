"""A recipe from start to end: for every seed the dense network, the control if asked for, the pruned network.

``OUTPUT/seed-N/`` has the files of these stages (see :mod:`prunemap.pruning.recipes.stage_files`), ``log.csv`` and the
event file of TensorBoard; ``OUTPUT/`` has ``recipe.json``, ``plan.json`` and ``summary.json``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.optim import SGD

from prunemap.core.files import check_writable
from prunemap.core.plan import Plan
from prunemap.core.value import read_json, write_json
from prunemap.core.workspace import Workspace
from prunemap.datasets import Dataset, load_dataset
from prunemap.errors import Problems, UserError
from prunemap.pruning.export import export_onnx
from prunemap.pruning.layers import list_layers
from prunemap.pruning.pruner import Pruner
from prunemap.pruning.recipes.network import NetworkSource
from prunemap.pruning.recipes.plan import plan_by_rules
from prunemap.pruning.recipes.recipe import Recipe
from prunemap.pruning.recipes.stage_files import StageFiles, TrainReport
from prunemap.pruning.recipes.stages import prune_module_to_files, train_to_files, use_threads
from prunemap.pruning.recipes.summary import RecipeSummary, SeedResult, summarise
from prunemap.pruning.training.distributed import is_first, process_count, wait_for_all
from prunemap.pruning.training.epoch_log import EpochLog
from prunemap.pruning.training.evaluate import check_fits

RECIPE, PLAN, SUMMARY = "recipe.json", "plan.json", "summary.json"


@dataclass(frozen=True)
class _Work:
    """What the seeds have in common."""

    recipe: Recipe
    source: NetworkSource
    dataset: Dataset
    plan: Plan
    folder: Path
    say: Callable[[str], None]


@dataclass(frozen=True)
class _SeedFiles:
    """The stages of a seed."""

    folder: Path

    @property
    def dense(self) -> StageFiles:
        return StageFiles(self.folder / "dense.safetensors")

    @property
    def control(self) -> StageFiles:
        return StageFiles(self.folder / "control.safetensors")

    @property
    def pruned(self) -> StageFiles:
        return StageFiles(self.folder / "pruned.safetensors")


def run_recipe(recipe: Recipe, *, resume: bool = False, say: Callable[[str], None] = print) -> RecipeSummary:
    """Run a recipe and write its files; what can be wrong is checked before anything is trained.

    Args:
        resume: go on with what is in the output folder; finished stages are not run again.
        say: told what happens.

    Raises:
        UserError: there is no output folder or it holds a run already, the data, the weights or the plan do not fit the
            model, a budget cannot be met, or a training fails.
    """
    folder = _output_folder(recipe, resume)
    use_threads(recipe.threads)
    dataset = _load_data(recipe)
    source = NetworkSource(recipe.model.name, recipe.model.options, dataset)
    module = source.build(0, recipe.model.start)
    check_fits(module, dataset)
    plan = _make_plan(recipe, module, dataset)
    _check(recipe, module, plan, dataset)
    wait_for_all()
    if not (folder / RECIPE).exists():
        _record(folder, recipe, plan)
    work = _Work(recipe, source, dataset, plan, folder, say)
    reports = [_run_seed(work, seed) for seed in recipe.seeds]
    rates = reports[0][1].rates
    assert rates is not None, "a plan that prunes nothing is refused"
    summary = summarise(recipe.model.name, dataset.name, len(dataset.test), [result for result, _ in reports], rates)
    _record(folder, recipe, plan)
    if is_first():
        write_json(folder / SUMMARY, summary)
    return summary


def _record(folder: Path, recipe: Recipe, plan: Plan) -> None:
    """Write what is done; of a run that goes on at its end, since other settings than before are refused meanwhile."""
    if is_first():
        write_json(folder / RECIPE, recipe)
        write_json(folder / PLAN, plan)


def _output_folder(recipe: Recipe, resume: bool) -> Path:
    if recipe.output is None:
        raise UserError("output: missing; write it into the recipe, or give -o FOLDER")
    if recipe.output.is_file():
        raise UserError(f"output: {recipe.output} is a file, a folder is to be written")
    if not resume and (recipe.output / RECIPE).exists():
        raise UserError(f"output: {recipe.output} holds a run already; go on with --resume, or give another -o")
    check_writable(recipe.output / RECIPE)
    return recipe.output


def _load_data(recipe: Recipe) -> Dataset:
    data = recipe.data
    return load_dataset(data.name, data.folder, download=data.download, image_size=data.image_size)


def _make_plan(recipe: Recipe, module: nn.Module, dataset: Dataset) -> Plan:
    if recipe.plan is not None:
        return read_json(recipe.plan, Plan, "plan")
    layers = list_layers(module, torch.zeros(1, *dataset.input_shape))
    return plan_by_rules(recipe.layers, recipe.default, layers)


def _check(recipe: Recipe, module: nn.Module, plan: Plan, dataset: Dataset) -> None:
    """Try on ``module``, which is spoilt by it, what the pruning will do.

    Raises:
        UserError: see :class:`Pruner`; torch cannot export the module; or batches cannot be shared by the processes.
    """
    schedules = {"dense": recipe.dense, "prune.training": recipe.prune.training, "retrain": recipe.retrain}
    problems = Problems("recipe")
    for name, schedule in schedules.items():
        if schedule is not None and schedule.batch_size % process_count():
            count = process_count()
            problems.add(
                f"{name}.batch_size: got {schedule.batch_size}, allowed are multiples of the {count} processes"
            )
    problems.raise_if_any()
    example = torch.zeros(1, *dataset.input_shape)
    with TemporaryDirectory(prefix="prunemap-") as scratch:
        export_onnx(module, example, Path(scratch) / "dense.onnx")
    phase, optimizer, steps = recipe.phase(0), None, 1
    if phase.training is not None:
        optimizer = SGD(module.parameters(), phase.training.lr, phase.training.momentum)
        steps = dataset.train.training_steps(phase.training.batch_size) * phase.training.epochs
    settings = phase.config.model_dump() | {"steps": steps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Pruner(module, plan, example, optimizer=optimizer, latency=phase.latency, **settings)


def _run_seed(work: _Work, seed: int) -> tuple[SeedResult, TrainReport]:
    """Run the stages of a seed that are not done yet; return its result and the report of the pruned network."""
    recipe, files = work.recipe, _SeedFiles(work.folder / f"seed-{seed}")
    space = Workspace(files.folder, lambda text: work.say(f"seed {seed}: {text}"), notes=is_first())
    log = EpochLog(files.folder) if is_first() else None
    own = (work.source.file,) if work.source.file else ()
    retrain = None if recipe.retrain is None else recipe.config(recipe.retrain, seed)
    trained = None if recipe.dense is None else recipe.config(recipe.dense, seed)

    def run_stage(
        name: str, result: StageFiles, reads: tuple[Path, ...], run: Callable[[], object], *what: object
    ) -> TrainReport:
        settings = (recipe.model.name, recipe.model.options, recipe.data, seed, *what)
        space.stage(name, run, settings=settings, reads=(*own, *reads), writes=result.results)
        wait_for_all()
        return read_json(result.report, TrainReport, "report")

    start = () if recipe.model.start is None else (recipe.model.start,)
    dense = run_stage("dense network", files.dense, start, partial(_dense, work, files, seed, log), trained)

    def run_pruning(name: str, result: StageFiles, plan: Plan | None) -> TrainReport:
        run = partial(_prune, work, files, seed, log, plan, result)
        table = () if plan is None or recipe.prune.latency is None else (recipe.prune.latency,)
        return run_stage(name, result, (files.dense.checkpoint, *table), run, recipe.phase(seed), retrain, plan)

    control = run_pruning("control", files.control, None).test_accuracy if recipe.control else None
    pruned = run_pruning("pruned network", files.pruned, work.plan)
    result = SeedResult(
        seed=seed,
        dense=dense.test_accuracy,
        control=control,
        pruned=pruned.test_accuracy,
        macs_kept=pruned.macs_kept,
        weights_kept=pruned.weights_kept,
    )
    return result, pruned


def _dense(work: _Work, files: _SeedFiles, seed: int, log: EpochLog | None) -> None:
    recipe = work.recipe
    config = None if recipe.dense is None else recipe.config(recipe.dense, seed)
    module = work.source.build(seed, recipe.model.start)
    output = files.dense.checkpoint
    train_to_files(module, work.source.info, work.dataset, config, output, True, log=log, device=recipe.device)


def _prune(
    work: _Work, files: _SeedFiles, seed: int, log: EpochLog | None, plan: Plan | None, result: StageFiles
) -> None:
    recipe = work.recipe
    prune_module_to_files(
        work.source.build(seed, files.dense.checkpoint),
        work.source.info,
        plan,
        work.dataset,
        None if recipe.retrain is None else recipe.config(recipe.retrain, seed),
        result.checkpoint,
        True,
        phase=recipe.phase(seed),
        device=recipe.device,
        log=log,
    )
