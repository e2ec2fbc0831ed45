"""The floating-point mode of the calling thread (rounding, flushing of denormals), put back after foreign code."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_ENVIRONMENT_BYTES = 256
"""More than any C library's fenv_t."""


@contextmanager
def float_mode_kept() -> Iterator[None]:
    """Put the mode back at the end: engines that flush denormals set it for the thread that loads them, for good."""
    process, before = ctypes.CDLL(None), ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    process.fegetenv(before)
    try:
        yield
    finally:
        process.fesetenv(before)
