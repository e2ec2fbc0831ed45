"""What the machine does at best, measured: multiply-adds and copying; and so the limit of a layer."""

from __future__ import annotations

import ctypes
import tempfile
from concurrent.futures import ThreadPoolExecutor
from math import ceil, log2
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.build import build_library, find_compiler
from prunemap.core.target import Target
from prunemap.core.value import Value
from prunemap.devices.affinity import check_threads

Array = NDArray[np.float32]
SOURCE = Path(__file__).parent / "limits.c"
SIZES_BYTES = tuple(1 << power for power in range(14, 29))
"""Working sets whose bandwidth is measured: 16 KiB to 256 MiB."""
ROUNDS = 15
ROUND_SECONDS = 2e-3
"""Short and many: some fall between the interruptions of a busy machine."""
_CHUNK_FLOATS = 64
"""What limits.c copies at a time, for vectors of at most 16 lanes."""


class Limits(Value):
    """What a machine does at best, with so many threads."""

    threads: int
    peak_flops: float
    """fp32 operations per second, a multiply-add counting as two."""
    sizes_bytes: tuple[int, ...]
    """Working sets, rising: source and destination together, of all threads."""
    bandwidths: tuple[float, ...]
    """Bytes read plus bytes written per second, for each size."""

    def bandwidth(self, size_bytes: float) -> float:
        """Return the bandwidth at a working set, interpolated over the logarithm of its size."""
        return float(np.interp(log2(max(size_bytes, 1)), np.log2(self.sizes_bytes), self.bandwidths))

    def limit_us(self, macs: float, size_bytes: float, passes: int = 1) -> float:
        """Return the least time that a layer can take: that of its multiply-adds, or of moving its bytes.

        Args:
            macs: multiply-accumulates with weights that are not zero.
            size_bytes: of inputs, outputs and weights that are not zero.
            passes: how many equal parts of it follow each other over the same weights, as the steps of a recurrence
                do: the working set is that of one.
        """
        return max(2 * macs / self.peak_flops, size_bytes / self.bandwidth(size_bytes / passes)) * 1e6


def measure_limits(target: Target, threads: int = 1, cc: str | None = None) -> Limits:
    """Measure this machine with vectors of the target's width, about a second; the best of a few rounds each.

    Args:
        cc: a C compiler command; None = ``zig cc``.

    Raises:
        UserError: threads or the compiler cannot be used.
    """
    check_threads(threads)
    library = _load(target, cc)
    return Limits(
        threads=threads,
        peak_flops=threads * _peak_flops(library),
        sizes_bytes=SIZES_BYTES,
        bandwidths=tuple(_bandwidth(library, size, threads) for size in SIZES_BYTES),
    )


def _load(target: Target, cc: str | None) -> Any:
    source = f"#define LANES {target.lanes}\n{SOURCE.read_text(encoding='utf-8')}"
    built = build_library(source, target, find_compiler(cc))
    with tempfile.TemporaryDirectory(prefix="prunemap-") as folder:  # a loaded library outlives its file
        file = Path(folder) / "limits.so"
        file.write_bytes(built)
        library = ctypes.CDLL(str(file))
    library.limits_time_fma.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_double)]
    library.limits_time_copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    library.limits_time_fma.restype = library.limits_time_copy.restype = ctypes.c_double
    return library


def _peak_flops(library: Any) -> float:
    """Return the operations per second of one core."""
    flops, steps = ctypes.c_double(), 10_000
    steps = ceil(steps * ROUND_SECONDS / library.limits_time_fma(steps, flops))
    best = min(library.limits_time_fma(steps, flops) for _ in range(ROUNDS))
    return float(flops.value / best)


def _bandwidth(library: Any, size_bytes: int, threads: int) -> float:
    """Return bytes per second of threads that copy so much together."""
    floats = max(1, size_bytes // (2 * 4 * threads * _CHUNK_FLOATS)) * _CHUNK_FLOATS
    together = Barrier(threads)

    def copy(_: int) -> list[tuple[float, float, int]]:
        """Return when each round began and ended, and how often it copied."""
        source, target = _two_sides(floats)
        arguments = target.ctypes.data, source.ctypes.data, floats
        library.limits_time_copy(*arguments, 1)
        repeats = ceil(ROUND_SECONDS / library.limits_time_copy(*arguments, 1))
        rounds = []
        for _ in range(ROUNDS):
            together.wait()
            start = perf_counter()
            library.limits_time_copy(*arguments, repeats)
            rounds.append((start, perf_counter(), repeats))
        return rounds

    with ThreadPoolExecutor(threads) as pool:
        starts, ends, repeats = np.array(list(pool.map(copy, range(threads)))).transpose(2, 1, 0)
    return float((2 * 4 * floats * repeats.sum(1) / (ends.max(1) - starts.min(1))).max())


def _two_sides(floats: int) -> tuple[Array, Array]:
    """Return two arrays at multiples of 64 bytes that are not a multiple of a page apart."""
    line = 16
    memory = np.ones(2 * floats + 18 * line, np.float32)  # made by the thread that reads it: its memory is near
    first = -(memory.ctypes.data // 4) % line
    second = first + floats + 17 * line
    return memory[first : first + floats], memory[second : second + floats]
