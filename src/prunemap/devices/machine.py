"""The fingerprint of the machine that numbers are taken on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from prunemap.core.latency_table import Machine


def read_machine(target: str = "", compiler: str = "") -> Machine:
    """Return the fingerprint of this machine.

    Args:
        target: name of the target that the measured program was compiled for.
        compiler: what it was compiled with.
    """
    return Machine(
        cpu=_cpu_name(),
        arch=platform.machine(),
        cores=os.cpu_count() or 1,
        system=platform.system(),
        target=target,
        compiler=compiler,
    )


def _cpu_name() -> str:
    """Name of the CPU as the system says it; never empty."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return cpu_name_from_cpuinfo(cpuinfo.read_text(errors="replace")) or platform.machine()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "Apple"
    return platform.processor() or platform.machine()


def cpu_name_from_cpuinfo(text: str) -> str:
    """Return the CPU's name from the text of /proc/cpuinfo, "" if it tells none.

    The numbers behind the name tell generations apart where a virtual machine hides the full name. ARM has no name
    there, but codes of the implementer and the part.
    """
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    numbers = ("cpu family", "model", "CPU implementer", "CPU part")
    detail = ", ".join(
        f"{key.removeprefix('CPU ').removeprefix('cpu ')} {facts[key]}" for key in numbers if key in facts
    )
    name = facts.get("model name", facts.get("Model", "ARM" if "CPU part" in facts else ""))
    return f"{name} ({detail})" if name and detail else name
