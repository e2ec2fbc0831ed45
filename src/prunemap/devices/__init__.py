"""Where a program runs and is timed: machines and how they are reached (kinds, session), what they are (facts); of this
one, what it does at best (limits) and which of its CPUs a measurement may use (affinity)."""

from prunemap.devices.affinity import allowed_cpus, check_threads, pinned
from prunemap.devices.facts import Facts, Reading, read_facts, target_for, why_not_there
from prunemap.devices.failures import DeviceError, DeviceLostError
from prunemap.devices.float_mode import float_mode_kept
from prunemap.devices.kinds import DEVICES, DeviceList, list_devices, parse_device
from prunemap.devices.limits import Limits, measure_limits
from prunemap.devices.machine import read_machine
from prunemap.devices.program import PlacedProgram, ProgramReport, parse_report
from prunemap.devices.session import CHROMIUM, NODE, Device, Session, opened

__all__ = [
    "CHROMIUM",
    "DEVICES",
    "NODE",
    "Device",
    "DeviceError",
    "DeviceList",
    "DeviceLostError",
    "Facts",
    "Limits",
    "PlacedProgram",
    "ProgramReport",
    "Reading",
    "Session",
    "allowed_cpus",
    "check_threads",
    "float_mode_kept",
    "list_devices",
    "measure_limits",
    "opened",
    "parse_device",
    "parse_report",
    "pinned",
    "read_facts",
    "read_machine",
    "target_for",
    "why_not_there",
]
