"""What --device does: compile for the device, run there, print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.options import parts, show
from prunemap.errors import Problems, UserError

if TYPE_CHECKING:
    from prunemap.on_device import DeviceTimer


@dataclass(frozen=True)
class DeviceOptions:
    """Options of bench that go with ``--device``."""

    device: str
    threads: int
    target: str
    tune: bool
    quick: bool
    per_layer: bool
    sustained: float | None
    json: bool
    vs: str | None
    """"dense" or "": other engines are not there."""


def bench_there(
    model: Path, options: DeviceOptions, refused: Mapping[str, object], compiled: Mapping[str, Any]
) -> None:
    """Bench a network on a device; what was measured before a device is lost is printed all the same.

    Args:
        refused: options that make no sense there, by name; those that were given are errors.
        compiled: how to compile, see :meth:`prunemap.on_device.DeviceBench.open`.

    Raises:
        UserError: an option cannot be used there, or the device failed.
    """
    from prunemap.benchmarking import QUICK, Effort
    from prunemap.devices import parse_device
    from prunemap.on_device import DeviceBench, bench_on_device, choose_place, sustained_on_device
    from prunemap.report import device_bench_tables, sustained_table
    from prunemap.sources import onnx_file

    problems = Problems("--device")
    problems.extend(f"--{name} cannot be used with it" for name, value in refused.items() if value is not None)
    others = [name for name in parts(options.vs or "") if name != "dense"]
    problems.extend(f"--vs: {name} is not there, allowed is dense" for name in others)
    problems.raise_if_any()
    place = choose_place(parse_device(options.device), options.threads, options.target, tunes=options.tune)
    command = shlex.join(["prunemap", *sys.argv[1:]])
    with DeviceBench.open(onnx_file(model), place, **compiled) as bench:
        if options.sustained is not None:
            held = sustained_on_device(bench, place, options.sustained, command)
            show(held, sustained_table(held), as_json=options.json)
            _end(held.lost, passed=held.check.passed)
            return
        effort = QUICK if options.quick else Effort()
        result = bench_on_device(
            bench, place, dense=options.vs != "", effort=effort, per_layer=options.per_layer, command=command
        )
    show(result, *device_bench_tables(result), as_json=options.json)
    _end(result.lost, passed=result.check.passed)


def timer_there(device: str, threads: int, target: str, cc: str | None, seed: int) -> DeviceTimer:
    """Return what times layers on a device.

    Raises:
        UserError: the device cannot be used.
    """
    from prunemap.devices import parse_device
    from prunemap.on_device import DeviceTimer, choose_place

    return DeviceTimer(choose_place(parse_device(device), threads, target), cc, seed)


def _end(lost: str, *, passed: bool) -> None:
    if lost:
        raise UserError(f"{lost}\nwhat was measured before is above")
    if not passed:
        raise typer.Exit(EXIT_FAILED_CHECK)
