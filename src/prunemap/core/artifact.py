"""Manifest: what a ``.pmap`` file says of itself. Plain dataclasses, so that loading a program needs only NumPy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from prunemap.errors import UserError

SCHEMA_VERSION = 1
DTYPES = ("float32", "int32", "int64", "bool")


@dataclass(frozen=True)
class TensorInfo:
    """A network input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    """float32, int32, int64 or bool. A program holds all in four bytes: of an int64, 32 bits."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name!r} is {self.dtype}")


@dataclass(frozen=True)
class KernelChoice:
    """What runs a weight-carrying node, and why: for manifests and reports."""

    node: str
    kernel: str
    scheme: str
    """Structure found in the zeros, or pinned by a plan."""
    density: float
    stored_weights: int
    """With the zeros that the format fills in."""
    reason: str = ""


@dataclass(frozen=True)
class Part:
    """A file inside the archive."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """manifest.json of a ``.pmap``."""

    prunemap: str
    target: str
    compiler: str
    abi: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    slots: tuple[str, ...]
    """What :meth:`prunemap.runtime.Engine.time_slots` times."""
    layers: tuple[KernelChoice, ...]
    source_path: str
    source_sha256: str
    arena_bytes: int
    detect: bool = True
    """Whether structure was looked for in the zeros; False: every weight runs as dense."""
    tuned: bool = False
    """Whether tiles were chosen by measuring."""
    parts: tuple[Part, ...] = ()
    schema: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the manifest as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Parse a manifest.

        Raises:
            UserError: it is not one, or of another schema version.
        """
        try:
            raw = json.loads(text)
            if raw.get("schema") != SCHEMA_VERSION:
                found = raw.get("schema")
                raise UserError(f"artifact: schema version {found!r}, this prunemap reads {SCHEMA_VERSION}")
            known = {each.name for each in fields(cls)}
            values: dict[str, Any] = {name: value for name, value in raw.items() if name in known}
            for name in ("inputs", "outputs"):
                values[name] = tuple(map(_tensor_info, values[name]))
            values["layers"] = tuple(KernelChoice(**each) for each in values["layers"])
            values["parts"] = tuple(Part(**each) for each in values["parts"])
            values["slots"] = tuple(map(str, values["slots"]))
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"artifact: its manifest is damaged ({type(error).__name__}: {error})") from None


def _tensor_info(raw: dict[str, Any]) -> TensorInfo:
    return TensorInfo(str(raw["name"]), tuple(map(int, raw["shape"])), str(raw.get("dtype", "float32")))
