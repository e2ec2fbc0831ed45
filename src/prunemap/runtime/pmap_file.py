"""The ``.pmap`` file: an uncompressed zip of a manifest, a native library, its C text and the packed weights.

Where some nodes are left to ONNX Runtime, the network is a row of segments, and segment k has its members in a folder
``k/``: those of a program, or ``model.onnx``. Loading a file executes the code in it; load only files that you trust.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from prunemap.core.artifact import OURS, Manifest, Part
from prunemap.core.cache import keep
from prunemap.core.files import existing_file, replacing
from prunemap.core.shown import Shown
from prunemap.errors import UserError
from prunemap.targets import TARGETS

MANIFEST, LIBRARY, WEIGHTS, SOURCE, ONNX = "manifest.json", "program.so", "weights.bin", "program.c", "model.onnx"
MAX_PART_BYTES = {MANIFEST: 16 << 20, LIBRARY: 256 << 20, WEIGHTS: 16 << 30, SOURCE: 64 << 20, ONNX: 2 << 30}
_FOLDER = re.compile(r"(0|[1-9]\d{0,3})/")
ALIGNMENT = 64
"""Bytes; what kernels load at once lies in one cache line."""
_LOCAL_HEADER_BYTES = 30
_EXTRA_HEADER_BYTES = 4
_EXTRA_ID = 0x5050


@dataclass(frozen=True)
class Program(Shown):
    """A compiled program in memory."""

    manifest: Manifest
    library: bytes
    weights: bytes | mmap.mmap
    """What holds the weight blob: the blob, or a map of its file."""
    weights_at: int
    """Where the blob starts in ``weights``."""
    weights_size: int
    source: bytes = b""
    """The C text of the library, to export; files of older versions have none."""

    def save(self, path: str | Path) -> None:
        """Write the program as a ``.pmap``, whole or not at all.

        Raises:
            UserError: ``path`` cannot be written.
        """
        _write(path, self.manifest, self.contents())

    def contents(self) -> dict[str, bytes]:
        """Return the members of its file but for the manifest."""
        return {LIBRARY: self.library, WEIGHTS: self.weight_blob()} | ({SOURCE: self.source} if self.source else {})

    def weight_blob(self) -> bytes:
        """Return the packed weights."""
        return bytes(self.weights[self.weights_at : self.weights_at + self.weights_size])

    @cached_property
    def aligned_weights(self) -> NDArray[np.uint8]:
        """The weight blob where whole cache lines can be loaded: a copy if it does not lie so itself."""
        blob = (
            np.frombuffer(self.weights, np.uint8)[self.weights_at :][: self.weights_size] if self.weights_size else None
        )
        if blob is not None and blob.ctypes.data % ALIGNMENT == 0:
            return blob
        room = np.empty(self.weights_size + ALIGNMENT, np.uint8)
        aligned = room[-room.ctypes.data % ALIGNMENT :][: self.weights_size]
        if blob is not None:
            aligned[:] = blob
        return aligned

    @cached_property
    def library_sha256(self) -> str:
        """The hash of the library, by which it is kept."""
        return hashlib.sha256(self.library).hexdigest()

    @contextmanager
    def library_file(self) -> Iterator[Path]:
        """Yield the library as a file in the user's private cache; where none can be, in a private folder meanwhile."""
        name = f"{self.library_sha256}.so"
        kept = keep("lib", name, self.library)
        if kept is not None:
            yield kept
            return
        with TemporaryDirectory(prefix="prunemap-") as folder:
            (Path(folder) / name).write_bytes(self.library)
            yield Path(folder) / name


@dataclass(frozen=True)
class Pipeline(Shown):
    """A network whose segments are compiled or left to ONNX Runtime, in memory."""

    manifest: Manifest
    """Of the whole network."""
    segments: tuple[Program | bytes, ...]
    """In the order of ``manifest.segments``: a program, or an ONNX model as it is in a file."""

    def save(self, path: str | Path) -> None:
        """Write the network as a ``.pmap``, whole or not at all.

        Raises:
            UserError: ``path`` cannot be written.
        """
        contents: dict[str, bytes] = {}
        for k, segment in enumerate(self.segments):
            members = {ONNX: segment} if isinstance(segment, bytes) else _with_manifest(segment)
            contents |= {f"{k}/{name}": data for name, data in members.items()}
        _write(path, self.manifest, contents)


Compiled = Program | Pipeline
"""What :func:`read_program` returns and an engine runs."""


def _with_manifest(program: Program) -> dict[str, bytes]:
    return {MANIFEST: program.manifest.to_json().encode(), **program.contents()}


def _write(path: str | Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    parts = tuple(Part(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items())
    first = {MANIFEST: replace(manifest, parts=parts).to_json().encode()}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {**first, **contents}.items():
            info = zipfile.ZipInfo(name)
            assert archive.fp is not None
            info.extra = _padding(archive.fp.tell() + _LOCAL_HEADER_BYTES + len(name))
            archive.writestr(info, data)


def _padding(position: int) -> bytes:
    """Return the zip extra field that aligns the data after it."""
    size = -(position + _EXTRA_HEADER_BYTES) % ALIGNMENT
    return _EXTRA_ID.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)


def read_program(path: str | Path) -> Compiled:
    """Read a ``.pmap``. The weights are mapped, not copied; every part is read once, to check its hash.

    Raises:
        UserError: no such file, not a ``.pmap``, damaged, or with parts that it must not have.
    """
    file = existing_file(path, "artifact")
    try:
        with zipfile.ZipFile(file) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            _check_names(path, infos)
            _check_places(path, archive)
            manifest = Manifest.from_json(archive.read(MANIFEST))
            _check_members(path, manifest, infos)
            members = {name: archive.read(name) for name in infos if _base(name) != WEIGHTS}
        mapped = _map(file)
        at = {name: _start_of(info, mapped) for name, info in infos.items() if _base(name) == WEIGHTS}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:  # all that zipfile raises
        raise UserError(f"artifact: {path} is not a .pmap file, or it is damaged ({error})") from None
    found = {name: memoryview(data) for name, data in members.items() if name != MANIFEST}
    for name, start in at.items():
        found[name] = memoryview(mapped)[start : start + infos[name].file_size]
    for part in manifest.parts:
        if part.name not in found or hashlib.sha256(found[part.name]).hexdigest() != part.sha256:
            raise UserError(f"artifact: {path} is damaged: {part.name} is not what the manifest says")
    if {part.name for part in manifest.parts} != set(found):
        raise UserError(f"artifact: {path} is damaged: the manifest does not vouch for every part")

    def program(folder: str, manifest: Manifest) -> Program:
        _check_target(path, manifest)
        weights = folder + WEIGHTS
        size, source = infos[weights].file_size, members.get(folder + SOURCE, b"")
        return Program(manifest, members[folder + LIBRARY], mapped, at[weights], size, source)

    if not manifest.segments:
        return program("", manifest)
    _check_target(path, manifest)
    pipeline = Pipeline(
        manifest,
        tuple(
            program(f"{k}/", Manifest.from_json(members[f"{k}/{MANIFEST}"]))
            if segment.engine == OURS
            else members[f"{k}/{ONNX}"]
            for k, segment in enumerate(manifest.segments)
        ),
    )
    _check_segments(path, pipeline)
    return pipeline


def _base(name: str) -> str:
    """Return a member's name inside the folder of its segment."""
    return _FOLDER.sub("", name, count=1) if _FOLDER.match(name) else name


def _check_names(path: str | Path, infos: dict[str, zipfile.ZipInfo]) -> None:
    """Only known names, stored uncompressed, of bounded size: nothing is ever unpacked by another name."""
    if MANIFEST not in infos or {_base(name) for name in infos} - set(MAX_PART_BYTES):
        raise UserError(f"artifact: {path} is not a .pmap file: it holds {', '.join(sorted(infos)[:6]) or 'nothing'}")
    for name, info in infos.items():
        limit = MAX_PART_BYTES[_base(name)]
        if info.file_size > limit or info.compress_type != zipfile.ZIP_STORED or info.flag_bits:
            raise UserError(f"artifact: {path}: {name} is compressed, encrypted or larger than {limit} bytes")


def _check_places(path: str | Path, archive: zipfile.ZipFile) -> None:
    """Every name once, every header where the directory says, no two members in the same bytes."""
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        archive.open(info).close()  # compares the header before the data with the directory
        if info.header_offset < end or info.compress_size != info.file_size:
            raise UserError(f"artifact: {path} is damaged: {info.filename} lies in the bytes of another part")
        end = info.header_offset + _LOCAL_HEADER_BYTES + len(info.orig_filename) + info.file_size
    names = archive.namelist()
    if len(names) != len(set(names)):
        raise UserError(f"artifact: {path} is damaged: it holds a part twice")


def _check_segments(path: str | Path, pipeline: Pipeline) -> None:
    """Every segment reads what is there by then, and its program is the one that the manifest means."""
    known, wrong = {*pipeline.manifest.inputs}, False
    for segment, part in zip(pipeline.manifest.segments, pipeline.segments, strict=True):
        wrong |= not {*segment.inputs} <= known
        known |= {*segment.outputs}
        if isinstance(part, Program):
            ends = (part.manifest.inputs, part.manifest.outputs)
            wrong |= ends != (segment.inputs, segment.outputs) or len(part.manifest.slots) != len(segment.slots)
    wrong |= not {*pipeline.manifest.outputs} <= known
    wrong |= sum(len(segment.slots) for segment in pipeline.manifest.segments) != len(pipeline.manifest.slots)
    if wrong:
        raise UserError(f"artifact: {path} is damaged: its segments do not fit each other")


def _check_members(path: str | Path, manifest: Manifest, infos: dict[str, zipfile.ZipInfo]) -> None:
    """The members are those of the segments that the manifest names, no more and no fewer."""
    wanted = {MANIFEST} if manifest.segments else {MANIFEST, LIBRARY, WEIGHTS}
    for k, segment in enumerate(manifest.segments):
        names = (MANIFEST, LIBRARY, WEIGHTS) if segment.engine == OURS else (ONNX,)
        wanted |= {f"{k}/{name}" for name in names}
    texts = {name for name in infos if _base(name) == SOURCE and name.removesuffix(SOURCE) + LIBRARY in wanted}
    found = set(infos) - texts  # a program may come without its text
    if found != wanted:
        differ = ", ".join(sorted(found ^ wanted)[:6])
        raise UserError(f"artifact: {path} is damaged: its parts are not those that the manifest names ({differ})")


def _check_target(path: str | Path, manifest: Manifest) -> None:
    """A later prunemap may have targets that this one does not know."""
    if manifest.target not in TARGETS:
        raise UserError(f"artifact: {path} is for target {manifest.target!r}, known are {', '.join(TARGETS)}")


def _map(file: Path) -> mmap.mmap:
    with open(file, "rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _start_of(info: zipfile.ZipInfo, mapped: mmap.mmap) -> int:
    """Return where the data of a member starts; 0 for one without any."""
    sizes = mapped[info.header_offset + 26 : info.header_offset + _LOCAL_HEADER_BYTES]
    name, extra = int.from_bytes(sizes[:2], "little"), int.from_bytes(sizes[2:], "little")
    return info.header_offset + _LOCAL_HEADER_BYTES + name + extra if info.file_size else 0
