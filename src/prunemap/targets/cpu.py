"""What this machine's CPU is and can do, as the system says it."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def cpu_flags() -> frozenset[str]:
    """Return the CPU features that Linux reports, empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_name() -> str:
    """Return the name of the CPU; never empty."""
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
