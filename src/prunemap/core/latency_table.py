"""LatencyTable: measured latency per layer setting × scheme × density on one machine (latency.json, version 1).

Tables of before have no anchors, no networks and no notes; they read as they are.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import ConfigDict, Field

from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value

FINITE = ConfigDict(allow_inf_nan=False)


class Machine(Value):
    """Fingerprint of the machine that a number was taken on."""

    cpu: str
    arch: str
    cores: int
    system: str
    target: str = ""
    compiler: str = ""
    prunemap: str = Field(default="", exclude_if=operator.not_)
    """Version whose kernels were measured; "" in what was written before, or where none were."""


class LatencyPoint(Value):
    """One measured point; times in microseconds, for one image or, of linear and recurrent layers, one run."""

    model_config = FINITE

    setting: LayerSetting
    scheme: SchemeSpec
    density: float = Field(gt=0, le=1)
    median_us: float = Field(gt=0)
    p10_us: float = Field(gt=0)
    p90_us: float = Field(gt=0)
    runs: int = Field(gt=0)
    anchor_us: float | None = Field(default=None, gt=0)
    """What the anchor, a fixed layer, took in the same seconds; None in tables of before."""
    attempts: int = Field(default=1, gt=0)
    """How often it was measured; the best is kept."""
    unstable: bool = False
    """Whether the runs differ too much even so."""

    @property
    def spread(self) -> float:
        """p90 / p10."""
        return self.p90_us / self.p10_us

    def at_anchor(self, anchor_us: float | None) -> float:
        """Return the median as it would be where the anchor takes ``anchor_us``."""
        return self.median_us * (anchor_us / self.anchor_us if anchor_us and self.anchor_us else 1.0)


class SlotTime(Value):
    """What one slot of a program took that belongs to no layer, in microseconds."""

    model_config = FINITE

    name: str
    median_us: float = Field(ge=0)


class LayerTime(Value):
    """What all slots of a dense layer took inside its network, in microseconds."""

    model_config = FINITE

    name: str
    setting: LayerSetting | None
    median_us: float = Field(ge=0)


class NetworkTimes(Value):
    """A dense network, compiled and timed slot by slot: what it takes beside its layers, and what these take in it."""

    model_config = FINITE

    name: str
    """The file's stem, for people; a network is found by its graph and the settings of its layers."""
    layers: tuple[LayerTime, ...]
    """In graph order."""
    glue: tuple[SlotTime, ...]
    """Pools, sums, resizes, activations that no layer took in, and the copies of inputs and outputs."""
    anchor_us: float | None = Field(default=None, gt=0)
    runs: int = Field(gt=0)
    graph_sha256: str = Field(default="", exclude_if=operator.not_)
    """Of the graph without weights; "" in tables of before: then any with such layers counts as the same."""

    def is_of(self, settings: Sequence[LayerSetting | None], graph_sha256: str = "") -> bool:
        """Return whether it is a network with such layers and, where both are known, such a graph."""
        known = graph_sha256 and self.graph_sha256
        return self.settings == tuple(settings) and (not known or graph_sha256 == self.graph_sha256)

    @property
    def settings(self) -> tuple[LayerSetting | None, ...]:
        """Of the layers, in graph order."""
        return tuple(layer.setting for layer in self.layers)


class LatencyTable(Value):
    """latency.json: points in the order they were measured, one per (setting, scheme, density)."""

    version: Literal[1] = 1
    machine: Machine
    threads: int = Field(gt=0)
    command: str = ""
    date: str = ""
    points: tuple[LatencyPoint, ...] = ()
    networks: tuple[NetworkTimes, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know: that the machine's speed moved, or that it was not the machine above all the time."""

    def profile_command(self, model: str = "MODEL.onnx", output: str = "LATENCY.json", schemes: str = "") -> str:
        """Return the command that adds to the table what it lacks, on the machine or device that it is of."""
        target = f" --target {self.machine.target}" if self.machine.target else ""
        device = f" --device {self.device}" if self.device else ""
        wanted = f" --schemes {schemes}" if schemes else ""
        return f"prunemap profile {model}{wanted} --threads {self.threads}{target}{device} -o {output}"

    @property
    def device(self) -> str:
        """What `--device` named in the command that made the table; "" = none."""
        words = [*self.command.replace("--device=", "--device ").split(), ""]
        return words[words.index("--device") + 1] if "--device" in words else ""

    def network(self, settings: Sequence[LayerSetting | None], graph_sha256: str = "") -> NetworkTimes | None:
        """Return the times of a network, the latest ones of those that may be it.

        Args:
            settings: of its layers, in graph order.
            graph_sha256: of its graph; "" = not known.
        """
        alike = [each for each in self.networks if each.is_of(settings, graph_sha256)]
        return next(
            (each for each in reversed(alike) if each.graph_sha256 == graph_sha256), alike[-1] if alike else None
        )

    @property
    def anchor_us(self) -> float | None:
        """The median of the points' anchors: the speed that all times can be brought to; None where there are none."""
        anchors = [point.anchor_us for point in self.points if point.anchor_us is not None]
        return median(anchors) if anchors else None
