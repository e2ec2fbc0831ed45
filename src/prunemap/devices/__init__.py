"""Where a program runs and is timed: what the machine is, what it does at best, and which of its CPUs a
measurement may use."""

from prunemap.devices.affinity import allowed_cpus, check_threads, pinned
from prunemap.devices.float_mode import float_mode_kept
from prunemap.devices.limits import Limits, measure_limits
from prunemap.devices.machine import read_machine

__all__ = [
    "Limits",
    "allowed_cpus",
    "check_threads",
    "float_mode_kept",
    "measure_limits",
    "pinned",
    "read_machine",
]
