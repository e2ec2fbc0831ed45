"""Where a program runs and is timed: what the machine is, and which of its CPUs a measurement may use."""

from prunemap.devices.affinity import allowed_cpus, check_threads, pinned
from prunemap.devices.float_mode import float_mode_kept
from prunemap.devices.machine import read_machine

__all__ = ["allowed_cpus", "check_threads", "float_mode_kept", "pinned", "read_machine"]
