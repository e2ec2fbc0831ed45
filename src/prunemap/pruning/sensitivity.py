"""Sensitivity: the accuracy on held-out images after pruning one layer alone in one shot, for every layer in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from prunemap.compiler import identity_of
from prunemap.core.files import check_writable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityConditions, SensitivityRow
from prunemap.core.value import now, read_json, write_json
from prunemap.datasets import Dataset, Split
from prunemap.errors import Problems, UserError
from prunemap.pruning.dead_filters import FilterGraph, filter_graph
from prunemap.pruning.layers import list_layers
from prunemap.pruning.one_shot import prune
from prunemap.pruning.training.batchnorm import reestimate_batchnorm, reestimation_images
from prunemap.pruning.training.device import choose_device, placed
from prunemap.pruning.training.evaluate import BATCH_SIZE, Quality, check_fits, measure
from prunemap.pruning.training.run_state import start_sha256
from prunemap.pruning.weights import prunable_weights
from prunemap.schemes import SCHEMES, legal_schemes, make_mask

DEFAULT_SCHEMES = tuple(
    SchemeSpec.parse(text) for text in ("unstructured", "pattern", "punched:4x1", "block:4x1", "filter")
)
DEFAULT_DENSITIES = (0.05, 0.1, 0.2, 0.4, 0.7)
DEFAULT_IMAGES = 1000
EVERY_LAYER = ("*",)


@dataclass(frozen=True)
class SensitivityCase:
    """One layer, pruned by one scheme to one density."""

    layer: LayerSpec
    scheme: SchemeSpec
    density: float

    @property
    def key(self) -> tuple[str, SchemeSpec, float]:
        """What a row of the file is found by."""
        return self.layer.name, self.scheme, self.density

    def plan(self) -> Plan:
        """Return the plan that prunes this layer alone."""
        return Plan(layers=(PlanLayer.of(self.layer, self.scheme, self.density),))

    def row(self, energy_kept: float, quality: Quality) -> SensitivityRow:
        """Return what was measured."""
        return SensitivityRow(
            layer=self.layer.name,
            module=self.layer.module,
            kind=self.layer.kind,
            weight_shape=self.layer.weight_shape,
            scheme=self.scheme,
            density=self.density,
            energy_kept=energy_kept,
            accuracy=quality.accuracy,
            loss=quality.loss,
        )


def sensitivity(
    module: nn.Module,
    dataset: Dataset,
    output: str | Path,
    *,
    layers: Sequence[str] = EVERY_LAYER,
    schemes: Sequence[SchemeSpec] = DEFAULT_SCHEMES,
    densities: Sequence[float] = DEFAULT_DENSITIES,
    images: int = DEFAULT_IMAGES,
    reestimate: bool = False,
    device: str = "auto",
    name: str = "",
    command: str = "",
) -> Sensitivity:
    """Prune every layer alone, by every scheme it can have to every density, and measure what that costs.

    Each row is written to ``output`` as it comes; rows that the file has are not measured again, so that after an
    interrupt the same call goes on. The module ends as it was.

    Args:
        output: sensitivity.json, made if it does not exist.
        layers: names of layers, patterns such as ``layer2.*``, or kinds such as ``conv``.
        densities: kept / all weights of the layer. Above what a scheme allows (pattern: 4/9) that is taken instead;
            below one group of a scheme nothing is measured.
        images: of the held-out split, evenly spread over it; all of it where it has fewer.
        reestimate: measure the statistics of batch norm again after every pruning, which takes some times longer.
        device: "auto", "cpu" or "cuda".
        name: of the model, for people.
        command: what the user typed, for the record.

    Raises:
        UserError: the arguments or the module do not fit, or the file is of another network or other images.
    """
    place = choose_device(device)
    check_writable(output)
    specs = list_layers(module, torch.zeros(1, *dataset.input_shape))
    cases = make_cases(specs, layers, schemes, densities)
    split = some_of(dataset.held_out, images)
    with placed(module, place):
        check_fits(module, dataset)
        measurement = _Measurement(module, dataset, split, reestimate)
        conditions = measurement.conditions()
        found = _open_file(Path(output), conditions)
        if found is None:
            dense = measurement.dense()
            found = Sensitivity(
                model=identity_of(name, specs),
                conditions=conditions,
                baseline_accuracy=dense.accuracy,
                baseline_loss=dense.loss,
                command=command,
                date=now(),
            )
        return _measure_into(Path(output), found, cases, measurement)


def make_cases(
    specs: Sequence[LayerSpec], patterns: Sequence[str], schemes: Sequence[SchemeSpec], densities: Sequence[float]
) -> list[SensitivityCase]:
    """Return what to measure, layer by layer.

    Raises:
        UserError: a pattern that fits no layer, a scheme that is wrong for all, a density outside (0, 1], or nothing
            to measure; all such are listed.
    """
    problems = Problems("sensitivity: nothing was measured")
    for pattern in patterns:
        if not any(_fits(pattern, spec) for spec in specs):
            names = ", ".join(spec.name for spec in specs)
            problems.add(f"layers: got {pattern!r}, allowed are patterns and kinds of: {names}")
    problems.extend(f"densities: got {d:g}, allowed are values in (0, 1]" for d in densities if not 0 < d <= 1)
    chosen = [spec for spec in specs if any(_fits(pattern, spec) for pattern in patterns)]
    legal: dict[str, list[SchemeSpec]] = {}
    for scheme in schemes:
        try:
            for spec in specs:
                legal.setdefault(spec.name, []).extend(legal_schemes(spec.weight_shape, [scheme]))
        except UserError as error:
            problems.add(str(error))
    problems.raise_if_any()
    cases = [case for spec in chosen for scheme in legal.get(spec.name, []) for case in _of(spec, scheme, densities)]
    if not cases:
        problems.add("no layer can have one of the schemes at one of the densities")
    problems.raise_if_any()
    return list(dict.fromkeys(cases))


def _fits(pattern: str, spec: LayerSpec) -> bool:
    return fnmatchcase(spec.name, pattern) or pattern == spec.kind


def _of(spec: LayerSpec, scheme: SchemeSpec, densities: Sequence[float]) -> list[SensitivityCase]:
    """Return the cases of one layer and scheme, by rising density."""
    least, most = _least_density(spec.weight_shape, scheme), SCHEMES[scheme.name].max_density
    met = {round(min(density, most), 4) for density in densities if density >= least}
    return [SensitivityCase(spec, scheme, density) for density in sorted(met)]


def _least_density(weight_shape: Sequence[int], scheme: SchemeSpec) -> float:
    """Return what is kept of a weight of that shape when as little as possible is."""
    weight = np.random.default_rng(0).standard_normal(tuple(weight_shape), dtype=np.float32)
    return float(make_mask(weight, scheme, 1 / weight.size).mean())


def some_of(split: Split, images: int) -> Split:
    """Return so many images of a split, evenly spread over it; all where it has fewer.

    Raises:
        UserError: less than one.
    """
    if images < 1:
        raise UserError(f"images: got {images}, allowed is 1 or more")
    chosen = np.linspace(0, len(split) - 1, min(images, len(split))).astype(np.int64)
    return Split(split.source, split.indices[chosen], split.normalisation)


def images_sha256(split: Split) -> str:
    """Return the hash of the images of a split, normalised, and of their labels."""
    digest = hashlib.sha256()
    for images, labels in split.batches(BATCH_SIZE):
        digest.update(images.tobytes())
        digest.update(labels.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _Measurement:
    """The dense module, and how it is measured when it is pruned."""

    module: nn.Module
    dataset: Dataset
    split: Split
    reestimate: bool

    @property
    def example(self) -> Tensor:
        """One input of zeros."""
        return torch.zeros(1, *self.dataset.input_shape)

    @cached_property
    def network(self) -> FilterGraph | None:
        """The graph of the module, exported once for all rows."""
        return filter_graph(self.module, self.example)

    def conditions(self) -> SensitivityConditions:
        """Return what rows of one file must have in common."""
        return SensitivityConditions(
            weights_sha256=start_sha256(self.module, {}),
            dataset=self.dataset.name,
            images=len(self.split),
            images_sha256=images_sha256(self.split),
            batchnorm_reestimated=self.reestimate,
        )

    def dense(self) -> Quality:
        """Measure the dense module."""
        return self._quality("the dense network")

    def case(self, case: SensitivityCase) -> SensitivityRow:
        """Prune, measure and undo."""
        with _undone(self.module):
            weight = prunable_weights(self.module)[case.layer.module].parameter.detach().clone()
            network = self.network if case.scheme.name == "filter" else None
            masks = prune(self.module, case.plan(), self.example, network)
            if self.reestimate:
                reestimate_batchnorm(self.module, reestimation_images(self.dataset))
            quality = self._quality(f"layer {case.layer.name!r} pruned by {case.scheme} to {case.density:g}")
        return case.row(_kept_energy(weight, masks.get(case.layer.module)), quality)

    def _quality(self, what: str) -> Quality:
        quality = measure(self.module, self.split)
        if not isfinite(quality.loss):
            raise UserError(f"model: with {what}, outputs are infinite or NaN; its sensitivity cannot be measured")
        return quality


def _kept_energy(weight: Tensor, mask: Tensor | None) -> float:
    if mask is None:
        return 1.0
    squares = weight.double() ** 2
    return float(squares[mask].sum() / (squares.sum() or 1.0))


@contextmanager
def _undone(module: nn.Module) -> Iterator[None]:
    """Give the module its weights and statistics back in the end."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    try:
        yield
    finally:
        module.load_state_dict(before)


def _open_file(path: Path, conditions: SensitivityConditions) -> Sensitivity | None:
    """Return the file at ``path`` if it was measured under the same conditions, None if there is none."""
    if not path.exists():
        return None
    found = read_json(path, Sensitivity, "sensitivity")
    problems = Problems(f"sensitivity: {path} was measured otherwise; name another file (-o), or delete it")
    for field, here in conditions:
        was, words = getattr(found.conditions, field), field.replace("_", " ")
        if was != here:
            problems.add(f"other {words.split()[0]}" if "sha256" in field else f"{words}: {was}, here {here}")
    problems.raise_if_any()
    return found


def _measure_into(
    path: Path, found: Sensitivity, cases: Sequence[SensitivityCase], measurement: _Measurement
) -> Sensitivity:
    """Measure the cases that the file lacks; it is written after every row."""
    known = {(row.layer, row.scheme, row.density) for row in found.rows}
    missing = [case for case in cases if case.key not in known]
    for case in track(missing, "measuring sensitivity", console=Console(stderr=True), disable=not missing):
        found = found.model_copy(update={"rows": (*found.rows, measurement.case(case))})
        write_json(path, found)
    return found
