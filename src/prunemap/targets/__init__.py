"""TARGETS: the machine classes that programs are compiled for. Pure data; a new target is a new row."""

from __future__ import annotations

import platform

from prunemap.core.table import by_name, look_up
from prunemap.core.target import Target
from prunemap.errors import UnsupportedError
from prunemap.targets.cpu import cpu_flags

X86_64_V4 = Target(
    name="x86-64-v4",
    arch="x86_64",
    lanes=16,
    registers=32,
    cpu_flags=("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    march="x86-64-v4",
    cc_flags=("-mprefer-vector-width=512",),
    triple="x86_64-linux-gnu.2.28",
    tiles=((16, 1), (8, 3), (4, 6), (2, 8), (1, 8)),
)

X86_64_V3 = Target(
    name="x86-64-v3",
    arch="x86_64",
    lanes=8,
    registers=16,
    cpu_flags=("avx2", "fma", "bmi2"),
    march="x86-64-v3",
    cc_flags=(),
    triple="x86_64-linux-gnu.2.28",
    tiles=((8, 1), (4, 3), (2, 5), (1, 8)),
)

TARGETS: dict[str, Target] = by_name((X86_64_V4, X86_64_V3))
NATIVE = "native"


def resolve_target(name: str) -> Target:
    """Return the target called ``name``; ``native`` is the first row that this machine can run.

    Raises:
        UserError: no such target.
        UnsupportedError: ``native`` on a machine that no row fits.
    """
    if name != NATIVE:
        return look_up(TARGETS, name, f"--target ({NATIVE} is allowed too)")
    for target in TARGETS.values():
        if not why_not_here(target):
            return target
    raise UnsupportedError(
        f"target native: no target fits this machine ({platform.machine()}), there are {', '.join(TARGETS)}"
    )


def why_not_here(target: Target) -> str:
    """Return why a program of this target cannot run on this machine, "" if it can."""
    if platform.machine() != target.arch:
        return f"this machine is {platform.machine()}, the program is for {target.arch}"
    missing = [flag for flag in target.cpu_flags if flag not in cpu_flags()]
    return f"this CPU lacks {', '.join(missing)}" if missing else ""
