"""LatencyTable: measured latency per layer setting × scheme × density on one machine (latency.json, version 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value


class Machine(Value):
    """Fingerprint of the machine that a number was taken on."""

    cpu: str
    arch: str
    cores: int
    system: str
    target: str = ""
    compiler: str = ""


class LatencyPoint(Value):
    """One measured point; times in microseconds, for one image or, of linear and recurrent layers, one run."""

    setting: LayerSetting
    scheme: SchemeSpec
    density: float = Field(gt=0, le=1)
    median_us: float = Field(gt=0)
    p10_us: float = Field(gt=0)
    p90_us: float = Field(gt=0)
    runs: int = Field(gt=0)


class LatencyTable(Value):
    """latency.json: points in the order they were measured, one per (setting, scheme, density)."""

    version: Literal[1] = 1
    machine: Machine
    threads: int = Field(gt=0)
    command: str = ""
    date: str = ""
    points: tuple[LatencyPoint, ...] = ()
