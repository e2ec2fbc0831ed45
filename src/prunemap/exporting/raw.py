"""Raw files of inputs and outputs, and the inputs that exported programs make for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.artifact import TensorInfo
from prunemap.errors import UserError

Array = NDArray[Any]


def probe_inputs(infos: Sequence[TensorInfo]) -> dict[str, Array]:
    """Return the inputs that a reference is made for: in [-1, 1), or 0 and 1 for integers, by place alone.

    ``runner.c`` and ``model.js`` make the same numbers, bit for bit, so that none need be stored.
    """
    inputs, first = {}, 0
    for info in infos:
        size = prod(info.shape)
        x = _mixed((np.arange(size, dtype=np.uint64) + first).astype(np.uint32))
        values = (x >> 8).astype(np.float32) * np.float32(2.0**-23) - 1 if info.dtype == "float32" else x >> 31
        inputs[info.name] = values.reshape(info.shape).astype(info.dtype)
        first += size
    return inputs


def _mixed(x: Array) -> Array:
    """Return numbers that look random, of a bijection of 32 bits (Wellons, hash-prospector)."""
    x = (x ^ x >> 16) * np.uint32(0x7FEB352D)
    x = (x ^ x >> 15) * np.uint32(0x846CA68B)
    mixed: Array = x ^ x >> 16
    return mixed


def write_raw(path: Path, infos: Sequence[TensorInfo], values: Mapping[str, Array]) -> None:
    """Write tensors one after another, four bytes per element, little endian: what exported programs read."""
    path.write_bytes(b"".join(_in_four_bytes(values[info.name]) for info in infos))


def read_raw(path: Path, infos: Sequence[TensorInfo]) -> list[Array]:
    """Read tensors that an exported program wrote.

    Raises:
        UserError: the file has another size.
    """
    data, arrays, at = path.read_bytes(), [], 0
    if len(data) != 4 * sum(prod(info.shape) for info in infos):
        raise UserError(f"outputs: {path} has {len(data)} bytes, not those of {', '.join(i.name for i in infos)}")
    for info in infos:
        held = "<f4" if info.dtype == "float32" else "<i4"
        arrays.append(np.frombuffer(data, held, prod(info.shape), at).reshape(info.shape).astype(info.dtype))
        at += 4 * prod(info.shape)
    return arrays


def _in_four_bytes(value: Array) -> bytes:
    return value.astype("<f4" if value.dtype == np.float32 else "<i4").tobytes()
