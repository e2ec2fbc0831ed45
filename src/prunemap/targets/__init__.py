"""TARGETS: the machine classes that programs are compiled for. Pure data; a new target is a new row."""

from __future__ import annotations

import platform
from dataclasses import replace

from prunemap.core.table import by_name
from prunemap.core.target import Target
from prunemap.errors import UnsupportedError, UserError
from prunemap.targets.cpu import cpu_flags

_X86_64 = Target(
    name="",
    arch="x86_64",
    lanes=8,
    registers=16,
    cpu_flags=(),
    march="",
    cc_flags=(),
    triple="x86_64-linux-gnu.2.28",
    libc_march="x86_64",
    static_triple="x86_64-linux-musl",
    tiles=(),
)

X86_64_V4 = replace(
    _X86_64,
    name="x86-64-v4",
    lanes=16,
    registers=32,
    cpu_flags=("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    march="x86-64-v4",
    cc_flags=("-mprefer-vector-width=512",),
    tiles=((16, 1), (8, 3), (4, 6), (2, 8), (1, 8)),
    expands=(16, 8),
    picks=(16,),
)

X86_64_V3 = replace(
    _X86_64,
    name="x86-64-v3",
    cpu_flags=("avx2", "fma", "bmi2"),
    march="x86-64-v3",
    tiles=((8, 1), (4, 3), (2, 5), (1, 8)),
)

AARCH64 = Target(
    name="aarch64",
    arch="aarch64",
    lanes=4,
    registers=32,
    cpu_flags=("asimd",),
    march="generic",
    march_option="-mcpu",
    cc_flags=(),
    triple="aarch64-linux-gnu.2.28",
    libc_march="generic",
    static_triple="aarch64-linux-musl",
    tiles=((16, 1), (8, 3), (4, 6), (2, 8), (1, 8)),
    l2_bytes=512 << 10,
    expand_cost=4,
    pick_cost=2.8,
    depthwise_rows=(8, 8),
)
"""Any ARMv8-A core. A weight is a lane of a register (FMLA by element), so eight of them take two registers.
Costs are those of the Neoverse N1 model of llvm-mca (benchmarks/arm_model.py)."""

_ARMV8_2 = ("asimd", "asimddp", "atomics")

# In order: one multiply-add per cycle, but a vector load takes the load port twice, so only tiles of many filters.
CORTEX_A55 = replace(
    AARCH64,
    name="cortex-a55",
    cpu_flags=_ARMV8_2,
    march="cortex-a55",
    tiles=((8, 3), (4, 6), (2, 8), (1, 8)),
    l2_bytes=128 << 10,
)

# Out of order: two multiply-adds of four cycles, so eight sums at least.
CORTEX_A76 = replace(AARCH64, name="cortex-a76", cpu_flags=_ARMV8_2, march="cortex-a76", l2_bytes=256 << 10)

# Out of order: four multiply-adds of four cycles, so sixteen sums at least.
CORTEX_X1 = replace(
    AARCH64,
    name="cortex-x1",
    cpu_flags=_ARMV8_2,
    march="cortex-x1",
    tiles=((16, 1), (8, 3), (4, 6), (2, 9), (1, 16)),
    l2_bytes=1 << 20,
)

WASM32_SIMD = Target(
    name="wasm32-simd",
    arch="wasm32",
    lanes=4,
    registers=16,
    cpu_flags=(),
    march="generic+simd128",
    march_option="-mcpu",
    cc_flags=(),
    triple="wasm32-wasi",
    carries_libc=True,
    libc_march="generic",
    link_flags=(
        "-mexec-model=reactor",
        "-rdynamic",
        "-Wl,--export=malloc,--export=free,--strip-all,-z,stack-size=1048576",
    ),
    tiles=((4, 2), (2, 4), (1, 8)),
    l2_bytes=512 << 10,
    expand_cost=4.6,
    pick_cost=5,
    depthwise_rows=(2, 4),
)
"""WebAssembly with vectors. Registers are those that an engine has on x86-64 without AVX-512; a weight for all lanes
takes a load of its own, so tiles of 8 filters are slower. Costs and rows are as measured in Node on x86-64."""

WASM32_RELAXED_SIMD = replace(WASM32_SIMD, name="wasm32-relaxed-simd", march="generic+simd128+relaxed_simd")
"""The same with fused multiply-adds, where the engine has them; the tiles are alike, so one C text serves both."""

TARGETS: dict[str, Target] = by_name(
    (X86_64_V4, X86_64_V3, AARCH64, CORTEX_A55, CORTEX_A76, CORTEX_X1, WASM32_SIMD, WASM32_RELAXED_SIMD)
)
NATIVE = "native"


def resolve_target(name: str) -> Target:
    """Return the target called ``name``; ``native`` is the first row that this machine can run.

    Raises:
        UserError: no such target.
        UnsupportedError: ``native`` on a machine that no row fits.
    """
    if name != NATIVE:
        if name not in TARGETS:
            raise UserError(f"--target: got {name!r}, allowed are {', '.join([NATIVE, *TARGETS])}")
        return TARGETS[name]
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
