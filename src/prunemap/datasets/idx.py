"""The IDX format of MNIST and Fashion-MNIST: one array of unsigned bytes per file, gzipped or not.

Layout: two zero bytes, the type (0x08 = uint8), the number of axes, each axis as a big-endian uint32, the values.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunemap.core.files import existing_file, replacing
from prunemap.errors import UserError

UNSIGNED_BYTE = 8


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file.

    Args:
        axes: the number of axes it must have, 3 for images (N, H, W), 1 for labels (N).

    Raises:
        UserError: the file is missing, corrupted, truncated or holds something else.
    """
    raw = existing_file(path, "dataset").read_bytes()
    try:
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error):
        raise UserError(f"dataset: {path} is a corrupted gzip file; get it again") from None
    if len(data) < 4 + 4 * axes or data[:4] != bytes((0, 0, UNSIGNED_BYTE, axes)):
        raise UserError(f"dataset: {path} is not an IDX file of unsigned bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    if values.size != prod(shape):
        raise UserError(f"dataset: {path} is truncated: {values.size} values, {'x'.join(map(str, shape))} expected")
    return values.reshape(shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array as a gzipped IDX file; the same array always gives the same bytes."""
    header = bytes((0, 0, UNSIGNED_BYTE, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=9, mtime=0))
