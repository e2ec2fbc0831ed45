"""Scalars in an event file that TensorBoard shows, without the package.

A file is a row of records: length (uint64), its checksum, the data, their checksum, little-endian; the checksum is a
masked CRC-32C. The data are an ``Event`` in the wire format of protobuf. Sources, in
tensorflow/core: lib/io/record_writer.h, util/event.proto, framework/summary.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

POLYNOMIAL, MASK = 0x82F63B78, 0xA282EAD8
# Numbers of the fields of Event, of its Summary, and of a Summary's Value.
WALL_TIME, STEP, FILE_VERSION, SUMMARY = 1, 2, 3, 5
VALUE, TAG, SIMPLE_VALUE = 1, 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


def begin_events(path: Path) -> None:
    """Write an event file without events."""
    path.write_bytes(_record(_fixed64(WALL_TIME, 0.0) + _bytes(FILE_VERSION, b"brain.Event:2")))


def append_scalars(path: Path, scalars: Mapping[str, float], *, step: int, wall_time: float) -> None:
    """Add one event.

    Args:
        scalars: by the name of the curve; a / in it makes groups.
        wall_time: seconds since 1970.
    """
    values = b"".join(
        _bytes(VALUE, _bytes(TAG, name.encode()) + _key(SIMPLE_VALUE, FIXED32) + struct.pack("<f", value))
        for name, value in scalars.items()
    )
    event = _fixed64(WALL_TIME, wall_time) + _key(STEP, VARINT) + _varint(step) + _bytes(SUMMARY, values)
    with path.open("ab") as file:
        file.write(_record(event))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _crc_table()[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ POLYNOMIAL * (value & 1)
        return value

    return tuple(map(entry, range(256)))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + MASK) & 0xFFFFFFFF)


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _fixed64(field: int, value: float) -> bytes:
    return _key(field, FIXED64) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(value)) + value
