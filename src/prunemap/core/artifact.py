"""Manifest: what a ``.pmap`` file says of itself. Plain dataclasses, so that loading a program needs only NumPy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, TypeVar

from prunemap.errors import UserError

SCHEMA_VERSION = 1
DTYPES = {"float32": 4, "int32": 4, "int64": 8, "bool": 1}
"""What a program takes and returns, with its bytes."""
OTHER_DTYPES = {"float64": 8, "float16": 2, "uint64": 8, "uint32": 4, "uint16": 2, "int16": 2, "uint8": 1, "int8": 1}
"""What only ONNX Runtime takes and returns."""
_PLAIN_TYPES = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}
_ITEM_BYTES = {**DTYPES, **OTHER_DTYPES}
OURS, ONNX_RUNTIME = "prunemap", "onnxruntime"
"""What runs a segment."""


@dataclass(frozen=True)
class TensorInfo:
    """A network input or output, or a tensor between two segments."""

    name: str
    shape: tuple[int, ...]
    """-1 = known only after a run, of what ONNX Runtime computes."""
    dtype: str = "float32"
    """float32, int32, int64 or bool. A program holds all in four bytes: of an int64, 32 bits."""

    def __post_init__(self) -> None:
        if self.dtype not in _ITEM_BYTES:
            raise ValueError(f"tensor {self.name!r} is {self.dtype}")

    @property
    def size_bytes(self) -> int | None:
        """Bytes of its elements; None where the shape is not known."""
        return None if -1 in self.shape else prod(self.shape) * _ITEM_BYTES[self.dtype]


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
class Segment:
    """A stretch of a network that one engine runs, where some nodes are not compiled."""

    engine: str
    """``prunemap`` or ``onnxruntime``."""
    nodes: tuple[str, ...]
    """Its ONNX nodes."""
    inputs: tuple[TensorInfo, ...]
    """What it reads of the network's inputs and of the segments before it."""
    outputs: tuple[TensorInfo, ...]
    """What it makes for the segments after it, and of the network's outputs."""
    slots: tuple[str, ...]
    """Its share of the manifest's slots."""
    why: tuple[str, ...] = ()
    """The nodes that are not compiled, each with the reason."""


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
    """Of working memory that one engine takes."""
    thread_bytes: int = 0
    """Of what every one of its threads takes besides."""
    detect: bool = True
    """Whether structure was looked for in the zeros; False: every weight runs as dense."""
    tuned: bool = False
    """Whether tiles were chosen by measuring."""
    parts: tuple[Part, ...] = ()
    segments: tuple[Segment, ...] = ()
    """In the order in which they run; empty where all of the network is one compiled program."""
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
            values["layers"] = tuple(_typed(KernelChoice(**each)) for each in values["layers"])
            values["parts"] = tuple(_typed(Part(**each)) for each in values["parts"])
            values["segments"] = tuple(map(_segment, values.get("segments", ())))
            values["slots"] = tuple(map(str, values["slots"]))
            return _typed(cls(**values))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"artifact: its manifest is damaged ({type(error).__name__}: {error})") from None


AnyPart = TypeVar("AnyPart", Manifest, KernelChoice, Part)


def _tensor_info(raw: dict[str, Any]) -> TensorInfo:
    shape = tuple(raw["shape"])
    if not all(type(size) is int and size >= -1 for size in shape):
        raise ValueError(f"the shape of {raw['name']!r} is {raw['shape']}")
    return TensorInfo(str(raw["name"]), shape, str(raw.get("dtype", "float32")))


def _typed(value: AnyPart) -> AnyPart:
    """Return a value that was read if its texts and numbers are some."""
    for each in fields(value):
        allowed, found = _PLAIN_TYPES.get(str(each.type)), getattr(value, each.name)
        if allowed and type(found) not in allowed:
            raise ValueError(f"{each.name} is {str(found)[:40]!r}")
    return value


def _segment(raw: dict[str, Any]) -> Segment:
    if raw["engine"] not in (OURS, ONNX_RUNTIME):
        raise ValueError(f"a segment runs in {raw['engine']!r}")
    return Segment(
        engine=raw["engine"],
        nodes=tuple(map(str, raw["nodes"])),
        inputs=tuple(map(_tensor_info, raw["inputs"])),
        outputs=tuple(map(_tensor_info, raw["outputs"])),
        slots=tuple(map(str, raw["slots"])),
        why=tuple(map(str, raw["why"])),
    )
