"""The ``.pmap`` file: an uncompressed zip of a manifest, a native library and the packed weights.

Loading one executes the code in it; load only files that you trust.
"""

from __future__ import annotations

import hashlib
import mmap
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from prunemap.core.artifact import Manifest, Part
from prunemap.core.cache import cache_folder
from prunemap.core.files import existing_file, replacing
from prunemap.errors import UserError

MANIFEST, LIBRARY, WEIGHTS = "manifest.json", "program.so", "weights.bin"
MAX_PART_BYTES = {MANIFEST: 16 << 20, LIBRARY: 256 << 20, WEIGHTS: 16 << 30}
_ALIGNMENT = 64
_LOCAL_HEADER_BYTES = 30
_EXTRA_HEADER_BYTES = 4
_EXTRA_ID = 0x5050


@dataclass(frozen=True)
class Program:
    """A compiled program in memory."""

    manifest: Manifest
    library: bytes
    weights: bytes | mmap.mmap
    """What holds the weight blob: the blob, or a map of its file."""
    weights_at: int
    """Where the blob starts in ``weights``."""
    weights_size: int

    def save(self, path: str | Path) -> None:
        """Write the program as a ``.pmap``, whole or not at all.

        Raises:
            UserError: ``path`` cannot be written.
        """
        weights = bytes(self.weights[self.weights_at : self.weights_at + self.weights_size])
        contents = {LIBRARY: self.library, WEIGHTS: weights}
        parts = tuple(Part(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items())
        manifest = replace(self.manifest, parts=parts).to_json().encode()
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {MANIFEST: manifest, **contents}.items():
                info = zipfile.ZipInfo(name)
                assert archive.fp is not None
                info.extra = _padding(archive.fp.tell() + _LOCAL_HEADER_BYTES + len(name))
                archive.writestr(info, data)

    def library_file(self) -> Path:
        """Return the library as a file in the user's private cache, named by its hash."""
        file = cache_folder("lib") / f"{hashlib.sha256(self.library).hexdigest()}.so"
        if not file.exists():
            with replacing(file) as temporary:
                temporary.write_bytes(self.library)
        elif file.read_bytes() != self.library:
            raise UserError(f"cache: {file} was changed, delete it")
        return file


def _padding(position: int) -> bytes:
    """Return the zip extra field that aligns the data after it."""
    size = -(position + _EXTRA_HEADER_BYTES) % _ALIGNMENT
    return _EXTRA_ID.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)


def read_program(path: str | Path) -> Program:
    """Read a ``.pmap``; the weights are mapped, not read.

    Raises:
        UserError: no such file, not a ``.pmap``, damaged, or with parts that it must not have.
    """
    file = existing_file(path, "artifact")
    try:
        with zipfile.ZipFile(file) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            _check_names(path, infos)
            manifest = Manifest.from_json(archive.read(MANIFEST))
            library = archive.read(LIBRARY)
        weights, at = _map_weights(file, infos[WEIGHTS])
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise UserError(f"artifact: {path} is not a .pmap file, or it is damaged ({error})") from None
    size = infos[WEIGHTS].file_size
    found = {LIBRARY: memoryview(library), WEIGHTS: memoryview(weights)[at : at + size]}
    for part in manifest.parts:
        if part.name not in found or hashlib.sha256(found[part.name]).hexdigest() != part.sha256:
            raise UserError(f"artifact: {path} is damaged: {part.name} is not what the manifest says")
    if {part.name for part in manifest.parts} != set(found):
        raise UserError(f"artifact: {path} is damaged: the manifest does not vouch for every part")
    return Program(manifest, library, weights, at, size)


def _check_names(path: str | Path, infos: dict[str, zipfile.ZipInfo]) -> None:
    """Only the three known names, stored uncompressed, of bounded size: nothing is ever unpacked by another name."""
    if set(infos) != set(MAX_PART_BYTES):
        raise UserError(f"artifact: {path} is not a .pmap file: it holds {', '.join(sorted(infos)[:6]) or 'nothing'}")
    for name, info in infos.items():
        if info.file_size > MAX_PART_BYTES[name] or info.compress_type != zipfile.ZIP_STORED:
            raise UserError(f"artifact: {path}: {name} is compressed or larger than {MAX_PART_BYTES[name]} bytes")


def _map_weights(file: Path, info: zipfile.ZipInfo) -> tuple[mmap.mmap | bytes, int]:
    """Return (map, offset of the weights in it); an empty blob has nothing to map."""
    if info.file_size == 0:
        return b"", 0
    with open(file, "rb") as opened:
        opened.seek(info.header_offset + 26)
        sizes = opened.read(4)
        name, extra = int.from_bytes(sizes[:2], "little"), int.from_bytes(sizes[2:], "little")
        at = info.header_offset + _LOCAL_HEADER_BYTES + name + extra
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), at
