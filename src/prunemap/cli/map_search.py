"""prunemap map --method search: its options, what it shows, and the call."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from pydantic import ValidationError
from rich.console import Console

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.options import Seed, refuse_options, show
from prunemap.cli.training import (
    Data,
    DataFolder,
    Device,
    Download,
    ImageSize,
    TrainingThreads,
    option_problems,
)
from prunemap.devices import allowed_cpus
from prunemap.errors import Problems, UserError
from prunemap.targets import NATIVE

if TYPE_CHECKING:
    from prunemap.core.latency_table import LatencyTable
    from prunemap.mapping import MapRequest
    from prunemap.mapping.search import Runner, SearchConfig
    from prunemap.pruning.fast_evaluate import FastConfig, FastEvaluator

Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="search: trained network of `prunemap train`.", show_default=False),
]
Evaluations = Annotated[int, typer.Option("--evaluations", help="search: candidates that are trained and measured.")]
SearcherName = Annotated[
    str, typer.Option("--searcher", help="search: reinforce, random, tpe or nsga2 (the last two need optuna).")
]
Steps = Annotated[int, typer.Option("--steps", help="search: training steps of a candidate, hopeless ones fewer.")]
LearningRate = Annotated[float, typer.Option("--lr", help="search: learning rate of those steps.")]
Images = Annotated[int, typer.Option("--images", help="search: held-out images to measure on, at most.")]
Penalty = Annotated[float, typer.Option("--penalty", help="search: accuracy that a latency of twice the budget costs.")]
Finalists = Annotated[
    int, typer.Option("--finalists", help="search: the best ones, evaluated once more before one is taken; 0 = none.")
]
Unseeded = Annotated[bool, typer.Option("--unseeded", help="search: do not begin with the plan by the rules.")]
Workers = Annotated[int, typer.Option("--workers", help="search: candidates evaluated at once; more than 1 need ray.")]
Ray = Annotated[
    str,
    typer.Option(
        "--ray", help="search: address of a Ray cluster: HOST:PORT, ray://HOST:PORT or auto.", show_default=False
    ),
]
Measured = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        metavar="DEVICE",
        help="search: measure candidates on a device, not by the table: local, ssh:…, adb, …; several share them.",
        show_default=False,
    ),
]
ResumeSearch = Annotated[bool, typer.Option("--resume", help="search: go on with an interrupted one.")]


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search, each with its default."""

    checkpoint: Checkpoint = None
    data: Data = "fashion-mnist-subset"
    data_folder: DataFolder = None
    download: Download = False
    image_size: ImageSize = 224
    evaluations: Evaluations = 60
    searcher: SearcherName = "reinforce"
    steps: Steps = 90
    lr: LearningRate = 0.02
    images: Images = 1000
    penalty: Penalty = 2.0
    finalists: Finalists = 5
    unseeded: Unseeded = False
    workers: Workers = 1
    ray: Ray = ""
    measure: Measured = None
    resume: ResumeSearch = False
    seed: Seed = 0
    threads: TrainingThreads = 0
    device: Device = "auto"


DEFAULTS = SearchOptions()


def with_search_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of a search; it takes them together as ``search``."""
    own, hints = (get_type_hints(each, include_extras=True) for each in (verb, SearchOptions))
    del own["search"], own["return"]
    added = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(SearchOptions)
    ]

    @wraps(verb)
    def taking(**given: Any) -> None:
        search = SearchOptions(**{name: given.pop(name) for name in hints})
        verb(search=search, **given)

    kept = [
        signature(verb).parameters[name].replace(kind=Parameter.KEYWORD_ONLY, annotation=hint)
        for name, hint in own.items()
    ]
    taking.__annotations__ = own | hints
    taking.__signature__ = Signature([*kept, *added])  # type: ignore[attr-defined]
    return taking


def check_no_search_options(context: typer.Context, method: str) -> None:
    """Check that nothing was asked for that only a search does.

    Raises:
        UserError: it was; all such options are listed.
    """
    why = f"--method {method}: it trains nothing; only --method search takes"
    refuse_options(context, why, [field.name for field in fields(SearchOptions)])


def search_by_options(
    model: Path,
    request: MapRequest,
    output: Path,
    options: SearchOptions,
    as_json: bool,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    cc: str | None = None,
) -> None:
    """Search for a plan, show how it goes, and what it found; exit code 1 where that is over the budget.

    Args:
        model: the ONNX file.
        cc: the C compiler of candidates that are measured.
    """
    from prunemap.cli.search_progress import show_search
    from prunemap.plan_search import Workers, search_plan
    from prunemap.report import plan_tables, search_tables

    config, fast = _configs(options)
    if request.budget.latency_ms is None:
        raise UserError("--latency-ms: got none; a search has a budget of latency")
    runners = _runners(model, request.table, options.measure or (), shapes, cc)
    evaluator = _evaluator(options, fast)
    with show_search(config, request.budget.latency_ms * 1e3, options.workers) as say:
        found = search_plan(
            request,
            evaluator,
            output,
            config=config,
            workers=Workers(options.workers, options.ray),
            resume=options.resume,
            runners=runners,
            command=shlex.join(["prunemap", *sys.argv[1:]]),
            say=say,
        )
    show(found.record, *plan_tables(found.result), *search_tables(found.record), as_json=as_json)
    if not found.record.meets_budget:
        over = f"{output}: no candidate within the budget was trained to the end; this plan is over it"
        Console(stderr=True).print(over, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED_CHECK)


def _runners(
    model: Path,
    table: LatencyTable,
    devices: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]] | None,
    cc: str | None,
) -> tuple[Runner, ...]:
    """Return what measures candidates, as the table was measured: with its target and threads.

    Raises:
        UserError: a device is named twice, or cannot be used.
    """
    from prunemap.benchmarking.local_runner import LocalRunner
    from prunemap.devices import parse_device
    from prunemap.on_device import DeviceRunner, choose_place

    twice = sorted({device for device in devices if devices.count(device) > 1})
    if twice:
        raise UserError(f"--measure: got {', '.join(twice)} twice; a device has one job at a time")
    target, threads = table.machine.target or NATIVE, table.threads
    return tuple(
        LocalRunner(model, threads, target, shapes, cc)
        if device == "local"
        else DeviceRunner(model, choose_place(parse_device(device, "--measure"), threads, target), shapes, cc)
        for device in devices
    )


def _configs(options: SearchOptions) -> tuple[SearchConfig, FastConfig]:
    """Return the configs.

    Raises:
        UserError: an option is out of range; all such are listed.
    """
    from prunemap.core.table import look_up
    from prunemap.mapping.search import SEARCHERS, SearchConfig
    from prunemap.pruning.fast_evaluate import FastConfig, rungs_to

    look_up(SEARCHERS, options.searcher, "--searcher")
    config = {
        "searcher": options.searcher,
        "evaluations": options.evaluations,
        "seed": options.seed,
        "seeded": not options.unseeded,
        "penalty": options.penalty,
        "finalists": options.finalists,
    }
    fast = {"rungs": rungs_to(options.steps), "lr": options.lr, "images": options.images}
    problems = Problems("search options")
    for kind, values in ((SearchConfig, config), (FastConfig, fast)):
        try:
            kind.model_validate(values)
        except ValidationError as error:
            problems.extend(option_problems(error, {"rungs": "--steps"}))
    problems.raise_if_any()
    return SearchConfig.model_validate(config), FastConfig.model_validate(fast)


def _evaluator(options: SearchOptions, fast: FastConfig) -> FastEvaluator:
    """Return what trains and measures candidates.

    Raises:
        UserError: there is no checkpoint, or it does not fit the data.
    """
    from prunemap.datasets import load_dataset
    from prunemap.pruning import load_checkpoint_for, use_threads
    from prunemap.pruning.fast_evaluate import make_fast_evaluator

    if options.checkpoint is None:
        raise UserError("--checkpoint: got none; a search needs the trained weights of the model, by `prunemap train`")
    use_threads(options.threads)
    dataset = load_dataset(options.data, options.data_folder, download=options.download, image_size=options.image_size)
    module, _ = load_checkpoint_for(options.checkpoint, dataset)
    alone = options.workers == 1 and not options.ray
    threads = options.threads or (len(allowed_cpus()) if alone else 1)
    return make_fast_evaluator(module, dataset, fast, device=options.device, threads=threads)
