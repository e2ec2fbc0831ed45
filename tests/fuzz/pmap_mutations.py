"""Mutations of ``.pmap`` files: bytes, the structure of the zip, what the manifest says."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.onnx_mutations import SIZES, change_bytes, pick

Rng = np.random.Generator
VALUES: tuple[Any, ...] = (
    None,
    True,
    0.5,
    1e308,
    "",
    "x",
    "/etc/passwd",
    "n" * 9999,
    [],
    {},
    [1],
    [[]],
    *SIZES,
    10**30,
)
NAMES = (
    "/absolute",
    "../up",
    "0/../program.so",
    "manifest.json",
    "program.so",
    "0/program.so",
    "00/program.so",
    "a\0b",
)


def change_pmap(data: bytes, rng: Rng, path: Path) -> list[str]:
    """Write a mutated file; return what was done."""
    how = rng.random()
    if how < 0.25:
        path.write_bytes(change_bytes(data, rng))
        return ["change_bytes"]
    if how < 0.4:
        path.write_bytes(change_headers(data, rng))
        return ["change_headers"]
    members = read_members(data)
    if how < 0.8:
        change_manifest(members, rng)
        path.write_bytes(written(members))
        return ["change_manifest"]
    done = change_members(members, rng)
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    path.write_bytes(written(members, compression))
    return [done]


def read_members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def written(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of the members, names twice or not."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            archive.filelist = [info for info in archive.filelist if True]
            archive.NameToInfo.pop(name, None)  # no warning of a name that is there already
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def change_manifest(members: list[tuple[str, bytes]], rng: Rng) -> None:
    """Other values in the manifest, of the whole or of a segment; hashes are made to fit again."""
    places = [i for i, (name, _) in enumerate(members) if name.endswith("manifest.json")]
    at = pick(rng, places)
    raw = json.loads(members[at][1])
    for _ in range(min(int(rng.geometric(0.7)), 4)):
        _change_json(raw, rng)
    members[at] = (members[at][0], json.dumps(raw).encode())
    if members[at][0] != "manifest.json":
        _seal(members)


def _change_json(value: Any, rng: Rng) -> None:
    """Change something at any depth."""
    while True:
        if not value:
            return
        key = pick(rng, list(value) if isinstance(value, dict) else list(range(len(value))))
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.8:
            value = value[key]
            continue
        how = rng.random()
        if how < 0.15:
            del value[key]
        elif how < 0.25 and isinstance(value, list):
            value.append(value[key])
        else:
            value[key] = deepcopy(pick(rng, VALUES))
        return


def _seal(members: list[tuple[str, bytes]]) -> None:
    """Let the manifest vouch for all parts as they are."""
    at = [name for name, _ in members].index("manifest.json")
    raw = json.loads(members[at][1])
    raw["parts"] = [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in members
        if name != "manifest.json"
    ]
    members[at] = ("manifest.json", json.dumps(raw).encode())


def change_members(members: list[tuple[str, bytes]], rng: Rng) -> str:
    """Other members, and the manifest may vouch for them."""
    at = int(rng.integers(len(members)))
    name, data = members[at]
    how = int(rng.integers(6))
    if how == 0:
        del members[at]
    elif how == 1:
        members.append((name, data))
    elif how == 2:
        members[at] = (pick(rng, NAMES), data)
    elif how == 3:
        members.append((pick(rng, NAMES), b"x" * int(rng.integers(100))))
    elif how == 4 and name.endswith("weights.bin"):
        members[at] = (name, pick(rng, (b"", data[: len(data) // 2], data + bytes(64))))
    elif how == 5 and name.endswith("weights.bin"):
        members[at] = (name, rng.bytes(len(data)))
        return "other weights"  # they tell the code where to read: what vouches for them is trusted like the code
    else:
        members.insert(0, members.pop(at))
    if rng.random() < 0.6 and any(name == "manifest.json" for name, _ in members):
        _seal(members)
    return ("drop", "repeat", "rename", "add", "weights", "order")[how]


def change_headers(data: bytes, rng: Rng) -> bytes:
    """Other numbers in the directory or in the headers before the members: sizes, places, flags, methods."""
    changed = bytearray(data)
    signature, fields = pick(
        rng,
        (
            (
                b"PK\x01\x02",
                ((6, "H"), (8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (30, "H"), (42, "I")),
            ),
            (b"PK\x03\x04", ((4, "H"), (6, "H"), (8, "H"), (18, "I"), (22, "I"), (26, "H"), (28, "H"))),
            (b"PK\x05\x06", ((4, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H"))),
        ),
    )
    starts = [at for at in range(len(data) - 4) if data[at : at + 4] == signature] if len(data) < 1 << 22 else []
    if not starts:
        return bytes(changed)
    for _ in range(int(rng.geometric(0.6))):
        at, (field, kind) = pick(rng, starts), pick(rng, fields)
        limit = 2**16 if kind == "H" else 2**32
        old = struct.unpack_from(f"<{kind}", changed, at + field)[0]
        new = pick(rng, (0, 1, old + 1, old - 1, old * 2, limit - 1, int(rng.integers(limit)), 64))
        struct.pack_into(f"<{kind}", changed, at + field, new % limit)
    return bytes(changed)
