"""Source: which model a program is made of, its file and the hash of all its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from prunemap.compiler.onnx.file import data_files
from prunemap.core.files import sha256_of


@dataclass(frozen=True)
class Source:
    """The file that a model was read from."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> Source:
        """Read a file and those beside it that hold its weights."""
        return cls(str(Path(path).resolve()), model_sha256(path))


def model_sha256(path: str | Path) -> str:
    """Return the hash of an ONNX file and of the files that its weights lie in; of another file that of its bytes."""
    file = Path(path)
    try:
        names = data_files(onnx.load(str(file), "protobuf", load_external_data=False))
    except (DecodeError, ValueError):
        names = []
    if not names:
        return sha256_of(file)
    there = [file.parent / name for name in names if (file.parent / name).is_file()]
    digests = [sha256_of(each) for each in (file, *there)]
    return hashlib.sha256(repr((names, digests)).encode()).hexdigest()
