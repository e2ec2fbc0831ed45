"""Target: what the compiler must know of a machine. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A machine class.

    ``tiles`` gives, per number of filters F in a register tile, the number of pixel vectors V that fit the
    registers beside it (F·V accumulators + V inputs + weights).
    """

    name: str
    arch: str
    """As ``platform.machine()`` says it: x86_64, aarch64; or wasm32."""
    lanes: int
    """fp32 values per vector register."""
    registers: int
    cpu_flags: tuple[str, ...]
    """Flags that /proc/cpuinfo must show for a program of this target to run."""
    march: str
    """As gcc and clang spell it."""
    cc_flags: tuple[str, ...]
    triple: str
    """Target triple for ``zig cc -target``."""
    tiles: tuple[tuple[int, int], ...]
    l2_bytes: int = 1 << 20
    """Typical private L2 cache; steers the loop order."""
    expands: tuple[int, ...] = (8,)
    """Rows of a linear tile whose weights the machine can spread over the lanes: mask bundles."""
    picks: tuple[int, ...] = (8,)
    """Rows of a linear tile for which every lane can pick its input: pick lists."""
    expand_cost: float = 1.0
    """How many times longer than on x86-64 a unit of mask bundles takes."""
    pick_cost: float = 1.0
    """The same of a step of pick lists."""
    depthwise_rows: tuple[int, int] = (4, 8)
    """Output rows of a depthwise tile, where a row takes several vectors and where it takes one."""
    march_option: str = "-march"
    """What ``march`` is given to gcc and clang by."""
    link_flags: tuple[str, ...] = ("-fPIC", "-shared")
    """What makes the library of a ``.pmap``."""
    carries_libc: bool = False
    """Whether the library of a ``.pmap`` has the C library inside, because the machine has none."""
    libc_march: str = ""
    """The ``march`` of a C library that is built for programs that carry it; one serves all targets of a kind."""
    static_triple: str = ""
    """Target triple of programs that need nothing on the device; "" = this target has none."""

    def vectors(self, filters: int) -> int:
        """Return V, the most pixel vectors of a tile with ``filters`` filters."""
        return dict(self.tiles)[filters]
