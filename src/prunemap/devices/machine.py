"""The fingerprint of the machine that numbers are taken on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from prunemap.core.latency_table import Machine
from prunemap.targets.cpu import cpu_name


def read_machine(target: str = "", compiler: str = "") -> Machine:
    """Return the fingerprint of this machine.

    Args:
        target: name of the target that the measured program was compiled for.
        compiler: what it was compiled with.
    """
    return Machine(
        cpu=cpu_name(),
        arch=platform.machine(),
        cores=os.cpu_count() or 1,
        system=platform.system(),
        target=target,
        compiler=compiler,
        prunemap=version("prunemap") if target else "",
    )
