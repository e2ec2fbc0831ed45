"""Where the time of a compiled network goes: every slot of the program beside the limit of the machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prunemap.benchmarking.engines import Batch, LoadedEngine, Subject
from prunemap.compiler import read_segment_costs
from prunemap.compiler.cost import NodeCost, read_costs
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.core.artifact import ONNX_RUNTIME, OURS, Manifest
from prunemap.core.value import Value
from prunemap.devices import Limits, measure_limits
from prunemap.runtime import start
from prunemap.targets import resolve_target


class LayerResult(Value):
    """What one slot of the program took: a layer, or what lies between layers; of the whole batch."""

    name: str
    kernel: str
    """The operation, for what has no weights."""
    structure: str = ""
    """Of the zeros; empty for what has no weights."""
    density: float | None = None
    """Weights that are not zero / all weights; None for what has no weights."""
    macs_kept: int = 0
    median_us: float
    limit_share: float | None = None
    """Least time that the machine allows / time taken; None where its cost is not known."""
    reason: str = ""
    """Why the layer runs as it does; never empty for a layer that runs dense."""
    layer: str = ""
    """The ONNX node with weights whose step it is: a layer may take several."""
    segment: int | None = None
    """Number of its segment, of a network that has some."""


class SlotTimer(LoadedEngine):
    """The compiled program, timed slot by slot in the rounds of the others."""

    def __init__(self, subject: Subject) -> None:
        self._engine = start(subject.program, subject.threads)
        self.version = f"prunemap {self._engine.manifest.prunemap}"
        self._medians: list[NDArray[np.float64]] = []

    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        seconds = self._engine.time_slots(inputs, runs)
        self._medians.append(np.median(seconds, axis=0))
        return np.asarray(seconds.sum(axis=1))

    def median_us(self, rounds: int) -> dict[str, float]:
        """Return the median of every slot over the last rounds."""
        medians = np.median(self._medians[-rounds:], axis=0) * 1e6
        return dict(zip(self._engine.slots, medians.tolist(), strict=True))

    def close(self) -> None:
        self._engine.close()


def explain_layers(subject: Subject, median_us: dict[str, float]) -> tuple[tuple[LayerResult, ...], Limits]:
    """Return what every slot took with its share of the machine's limits, and the limits, measured now.

    Args:
        median_us: by slot.
    """
    manifest = subject.program.manifest
    limits = measure_limits(resolve_target(manifest.target), subject.threads, subject.cc)
    read = read_segment_costs if manifest.segments else read_costs
    costs = read(subject.onnx, {info.name: info.shape for info in manifest.inputs})
    return layer_results(manifest, costs, limits, median_us), limits


def layer_results(
    manifest: Manifest, costs: dict[str, NodeCost], limits: Limits, median_us: dict[str, float]
) -> tuple[LayerResult, ...]:
    """Return one result for every slot, in the order of the program."""
    choices = {choice.node: choice for choice in manifest.layers}
    numbers = {slot: k for k, segment in enumerate(manifest.segments) for slot in segment.slots}
    whole = {slot for each in manifest.segments if each.engine != OURS for slot in each.slots}
    with_weights = {onnx_name(node) for node in choices}
    results = []
    for slot in manifest.slots:
        cost, choice, layer = costs.get(slot), choices.get(slot), onnx_name(slot)
        least_us = limits.limit_us(cost.macs, cost.size_bytes, cost.passes) if cost else None
        results.append(
            LayerResult(
                name=slot,
                kernel=choice.kernel if choice else cost.operation if cost else ONNX_RUNTIME if slot in whole else "",
                structure=choice.scheme if choice else "",
                density=choice.density if choice else None,
                macs_kept=cost.macs if cost else 0,
                median_us=median_us[slot],
                limit_share=None if least_us is None else least_us / max(median_us[slot], 1e-3),
                reason=choice.reason if choice else "",
                layer=layer if layer in with_weights else "",
                segment=numbers.get(slot),
            )
        )
    return tuple(results)
