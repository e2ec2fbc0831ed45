"""check: whether a device can be used, step by step, with what to do where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prunemap.benchmarking.verify import TOLERANCE, relative_error
from prunemap.compiler import LayerCase, interpret_layers
from prunemap.core.value import Value
from prunemap.devices import Device, DeviceError, Facts, parse_device
from prunemap.errors import UserError
from prunemap.latency import ANCHOR, compile_anchor
from prunemap.on_device.engine import DeviceEngine
from prunemap.on_device.place import Place, choose_place
from prunemap.runtime import random_inputs

Found = TypeVar("Found")


class Step(Value):
    """A step of a check."""

    name: str
    passed: bool
    detail: str
    """What was found, or what is wrong and what to do next."""


class DeviceCheck(Value):
    """What a check found; it ends with the first step that fails."""

    device: str
    steps: tuple[Step, ...]
    facts: Facts | None = None

    @property
    def passed(self) -> bool:
        """Whether the device can be used."""
        return all(step.passed for step in self.steps)


def check_device(text: str, cc: str | None = None) -> DeviceCheck:
    """Reach a device, send a small program, run it, compare its output, clean up.

    Raises:
        UserError: ``text`` names no device.
    """
    device, steps, facts = parse_device(text), list[Step](), list[Facts]()

    def done(name: str, action: Callable[[], tuple[Found, str]]) -> Found:
        try:
            found, detail = action()
        except DeviceError as error:
            steps.append(Step(name=name, passed=False, detail=str(error)))
            raise
        steps.append(Step(name=name, passed=True, detail=detail))
        return found

    try:
        done("tool", lambda: _tool(device))
        place = done("reach", lambda: _reached(device))
        facts.append(place.facts)
        folder = done("send and run", lambda: _compared(place, cc))
        done("clean up", lambda: _gone(device, folder))
    except DeviceError:
        pass  # the last step says it
    return DeviceCheck(device=text, steps=tuple(steps), facts=facts[0] if facts else None)


def _tool(device: Device) -> tuple[None, str]:
    device.check_tool()
    return None, f"{device.connection.tool} is installed here"


def _reached(device: Device) -> tuple[Place, str]:
    try:
        place = choose_place(device)
    except DeviceError:
        raise
    except UserError as error:  # no target fits
        raise DeviceError(str(error)) from None
    pinned = f"held on CPU {place.cpus[0]}" if place.cpus else "not pinned"
    return place, f"{place.facts.cpu}, {len(place.facts.cpus)} CPUs; target {place.target.name}; {pinned}"


def _compared(place: Place, cc: str | None) -> tuple[str, str]:
    """Run the anchor of latency tables there; returns the folder that was used."""
    program = compile_anchor(place.target.name, cc)
    inputs = random_inputs(program.manifest.inputs)
    (wanted,) = interpret_layers([LayerCase(ANCHOR.setting, ANCHOR.weight())], inputs)
    with DeviceEngine.open(place, program, cc) as engine:
        (found,) = engine.run(inputs)
        folder = engine.placed.session.folder
    error = relative_error(found, wanted)
    if not error <= TOLERANCE:
        raise place.device.failed(f"a small network is wrong there: relative error {error:.2g}", "please report it")
    return folder, f"a small network ran in {folder}, relative error {error:.1e}"


def _gone(device: Device, folder: str) -> tuple[None, str]:
    if device.shell(f"test ! -e {folder}").code:
        raise device.failed(f"{folder} is still there", "remove it by hand")
    return None, "nothing of ours is left there"
