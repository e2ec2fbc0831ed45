"""Run: what a folder of ``prunemap demo``, of ``prunemap prune --recipe``, or one put together by hand, holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prunemap.benchmarking import BenchResult, VerifyResult
from prunemap.compiler import ModelLayer, identify, read_network, read_specs
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan
from prunemap.core.sensitivity import Sensitivity
from prunemap.core.value import Value, read_json
from prunemap.core.wiring import Wiring
from prunemap.errors import UnsupportedError, UserError
from prunemap.mapping.search import SearchRecord

if TYPE_CHECKING:  # importing pruning imports torch: only folders with trainings need it
    from prunemap.pruning import TrainReport
    from prunemap.pruning.recipes.recipe import Recipe
    from prunemap.pruning.recipes.summary import RecipeSummary
    from prunemap.pruning.training.epoch_log import LogRow

LATENCY, PLAN, BENCHED, VERIFIED = "latency.json", "plan.json", "bench.json", "verify.json"
SENSITIVITY, SEARCH = "sensitivity.json", "search.json"
RECIPE, SUMMARY, LOG = "recipe.json", "summary.json", "log.csv"
STAGES = ("dense", "control", "pruned")
"""Stems of the files of training stages, in order."""
REPORTS = tuple(f"{stage}.json" for stage in STAGES)
SEED = re.compile(r"seed-(\d+)")
SEED_FILES = (*REPORTS, LOG)
FILES = (LATENCY, PLAN, SENSITIVITY, SEARCH, BENCHED, VERIFIED, RECIPE, SUMMARY, *SEED_FILES)
"""What is looked for; of these the page is made."""
OTHER_FILES = ("dense.onnx", "pruned.onnx", "dense.pmap", "pruned.pmap", "dense.safetensors", "pruned.safetensors")
"""What is only listed with its size."""

AnyValue = TypeVar("AnyValue", bound=Value)


@dataclass(frozen=True)
class Trainings:
    """The training stages of the run, or of one of its seeds."""

    seed: int | None
    reports: Mapping[str, TrainReport]
    """By stage, those that are finished."""
    log: tuple[LogRow, ...]


@dataclass(frozen=True)
class Run:
    """What was found in a folder; None or empty where it was not."""

    folder: Path
    plan: Plan | None = None
    latency: LatencyTable | None = None
    sensitivity: Sensitivity | None = None
    searches: Mapping[str, SearchRecord] = field(default_factory=dict)
    """By name: the searcher, and of ``NAME-search.json`` the name too."""
    benched: BenchResult | None = None
    verified: VerifyResult | None = None
    recipe: Recipe | None = None
    summary: RecipeSummary | None = None
    trainings: tuple[Trainings, ...] = ()
    """Of the folder itself, then of its seeds."""
    specs: tuple[LayerSpec, ...] = ()
    """The layers of the network, in graph order."""
    graph_sha256: str = ""
    """Of its graph, by which a latency table knows it; "" where it is not known."""
    layers: tuple[ModelLayer, ...] = ()
    """The same of the dense network, with its weights."""
    wiring: Wiring = field(default_factory=Wiring)
    """Which of them read filters of others."""
    sizes_bytes: Mapping[str, int] = field(default_factory=dict)
    """Of the known files, by their path in the folder."""

    @property
    def reports(self) -> Mapping[str, TrainReport]:
        """The reports of the folder itself, else of its first seed that has some."""
        return next((each.reports for each in self.trainings if each.reports), {})


def read_run(folder: str | Path) -> Run:
    """Read what a run folder has.

    Raises:
        UserError: no such folder, nothing of a run in it, or a file that cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"run: {folder} is not a folder" if folder.exists() else f"run: no such folder: {folder}")
    places = {None: folder, **_seed_folders(folder)}
    if not any((place / name).is_file() for place in places.values() for name in FILES):
        raise UserError(
            f"run: nothing of a run is in {folder}; looked for {', '.join(FILES)}, and seed-N/ with "
            f"{', '.join(SEED_FILES)}"
        )
    plan, latency = _read(folder / PLAN, Plan, "plan"), _read(folder / LATENCY, LatencyTable, "latency table")
    recipe, summary = _read_recipe(folder)
    return Run(
        folder=folder,
        plan=plan,
        latency=latency,
        sensitivity=_read(folder / SENSITIVITY, Sensitivity, "sensitivity"),
        searches=_read_searches(folder),
        benched=_read(folder / BENCHED, BenchResult, "bench result"),
        verified=_read(folder / VERIFIED, VerifyResult, "verify result"),
        recipe=recipe,
        summary=summary,
        trainings=tuple(found for seed, place in places.items() if (found := _read_trainings(seed, place))),
        **(_read_network(list(places.values())) if plan or latency else {}),
        sizes_bytes={
            str((place / name).relative_to(folder)): (place / name).stat().st_size
            for place in places.values()
            for name in (*FILES, *OTHER_FILES)
            if (place / name).is_file()
        },
    )


def _seed_folders(folder: Path) -> dict[int | None, Path]:
    found = {int(match[1]): path for path in folder.iterdir() if (match := SEED.fullmatch(path.name))}
    return {seed: found[seed] for seed in sorted(found) if found[seed].is_dir()}


def _read(path: Path, kind: type[AnyValue], what: str) -> AnyValue | None:
    return read_json(path, kind, what) if path.exists() else None


def _read_searches(folder: Path) -> dict[str, SearchRecord]:
    found = {}
    for path in sorted(folder.glob(f"*{SEARCH}")):
        record = read_json(path, SearchRecord, "search")
        name = path.name.removesuffix(SEARCH).removesuffix("-")
        found[f"{record.config.searcher} ({name})" if name else record.config.searcher] = record
    return found


def _read_recipe(folder: Path) -> tuple[Recipe | None, RecipeSummary | None]:
    if not any((folder / name).exists() for name in (RECIPE, SUMMARY)):
        return None, None
    _need_torch()
    from prunemap.pruning.recipes.recipe import Recipe  # noqa: PLC0415 (imports torch)
    from prunemap.pruning.recipes.summary import RecipeSummary  # noqa: PLC0415 (imports torch)

    return _read(folder / RECIPE, Recipe, "recipe"), _read(folder / SUMMARY, RecipeSummary, "summary")


def _read_trainings(seed: int | None, folder: Path) -> Trainings | None:
    if not any((folder / name).exists() for name in SEED_FILES):
        return None
    _need_torch()
    from prunemap.pruning import TrainReport  # noqa: PLC0415 (imports torch)
    from prunemap.pruning.training.epoch_log import EpochLog  # noqa: PLC0415 (imports torch)

    found = {stage: _read(folder / f"{stage}.json", TrainReport, "report") for stage in STAGES}
    reports = {stage: report for stage, report in found.items() if report is not None}
    return Trainings(seed, reports, tuple(EpochLog(folder).rows()))


def _need_torch() -> None:
    """Check that what trainings write can be read: prunemap.pruning defines it.

    Raises:
        UserError: torch is not installed.
    """
    if find_spec("torch") is None:
        raise UserError("run: its trainings cannot be read without torch; pip install 'prunemap[train]'")


def _read_network(places: Sequence[Path]) -> dict[str, Any]:
    """Return the fields of a run that come from its first exported network, from one reading of the file.

    None where there is no such file; layers and wiring only where it can be compiled, layers only of the dense one.
    """
    files = (place / f"{stage}.onnx" for stage in STAGES for place in places)
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        return {}
    try:
        network = read_network(path)
    except UnsupportedError:  # its segments were compiled one by one
        return {"specs": tuple(read_specs(path)), "graph_sha256": identify(path).sha256}
    return {
        "specs": tuple(layer.spec for layer in network.layers),
        "graph_sha256": network.identity.sha256,
        "layers": tuple(network.layers) if path.stem == STAGES[0] else (),
        "wiring": network.wiring,
    }
