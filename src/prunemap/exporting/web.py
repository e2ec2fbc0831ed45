"""A folder for web pages and Node: WebAssembly modules, the weights, one ES module with its types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

from prunemap.compiler.build import Compiler, build_library
from prunemap.core.artifact import Manifest, TensorInfo
from prunemap.core.target import Target
from prunemap.exporting.reference import Reference
from prunemap.runtime import Program
from prunemap.targets import TARGETS

WEB_FILES = Path(__file__).parent / "web"
VARIANTS = {"model.simd": "wasm32-simd", "model.relaxed": "wasm32-relaxed-simd"}
STACK_BYTES = 1 << 18
"""Of a thread that a page starts."""
_INITIAL_PAGES, _PAGE_BYTES, _MOST_PAGES = 256, 1 << 16, (1 << 16) - 1
"""Of memory that threads share: what holds all that is not allocated; the most that there can be."""


def web_files(
    program: Program, name: str, reference: Reference, compiler: Compiler, *, threads: bool = False
) -> dict[str, bytes]:
    """Return the files by name. All modules are of one C text, so one set of weights serves them.

    Args:
        threads: add modules for several threads.
    """
    text = program.source.decode()
    targets = {f"{file}.wasm": TARGETS[target] for file, target in VARIANTS.items()}
    if threads:
        targets |= {f"{file}.threads.wasm": with_threads(TARGETS[target]) for file, target in VARIANTS.items()}
    files = {file: build_library(text, target, compiler) for file, target in targets.items()}
    files["weights.bin"] = program.weight_blob()
    manifest = program.manifest
    info = {
        "name": name,
        "inputs": [_tensor(each) for each in manifest.inputs],
        "outputs": [_tensor(each) for each in manifest.outputs],
        "layers": manifest.slots,
        "weightBytes": program.weights_size,
        "threads": _shared_memory(manifest, program.weights_size) if threads else None,
    }
    values = {
        "@NAME@": "".join(c if c.isprintable() else " " for c in name).replace("*/", "* /"),
        "@VERSION@": manifest.prunemap,
        "@INFO@": json.dumps(info),
        "@INPUTS@": _union(manifest.inputs),
        "@OUTPUTS@": _union(manifest.outputs),
    }
    for file in ("model.js", "model.d.ts", *(("worker.js",) if threads else ())):
        source = (WEB_FILES / file).read_text(encoding="utf-8")
        for key, value in values.items():
            source = source.replace(key, value)
        files[file] = source.encode()
    files["reference.json"] = json.dumps(_reference(reference)).encode()
    files["package.json"] = json.dumps({"type": "module", "exports": "./model.js", "types": "./model.d.ts"}).encode()
    return files


def with_threads(target: Target) -> Target:
    """Return a target of WebAssembly with memory that threads share, which the page makes."""
    memory = f"--initial-memory={_INITIAL_PAGES * _PAGE_BYTES},--max-memory={_MOST_PAGES * _PAGE_BYTES}"
    shared = f"-Wl,--shared-memory,--import-memory,{memory},--export=__stack_pointer"
    march, libc_march = (f"{each}+atomics+bulk_memory" for each in (target.march, target.libc_march))
    return replace(target, march=march, libc_march=libc_march, link_flags=(*target.link_flags, shared))


def _shared_memory(manifest: Manifest, weight_bytes: int) -> dict[str, int]:
    """Return what sizes the memory: it can grow, but not beyond what it was made for."""
    tensors = sum(4 * prod(each.shape) for each in (*manifest.inputs, *manifest.outputs))
    return {
        "initialPages": _INITIAL_PAGES,
        "stackBytes": STACK_BYTES,
        "bytes": weight_bytes + manifest.arena_bytes + tensors,
        "bytesPerThread": manifest.thread_bytes,
    }


def _tensor(info: TensorInfo) -> dict[str, object]:
    return {"name": info.name, "dtype": info.dtype, "shape": info.shape, "elements": prod(info.shape)}


def _union(infos: Sequence[TensorInfo]) -> str:
    return " | ".join(json.dumps(info.name) for info in infos) or "never"


def _reference(reference: Reference) -> dict[str, object]:
    outputs = [{"step": each.step, "values": each.values, "magnitude": each.magnitude} for each in reference.outputs]
    return {"madeBy": reference.made_by, "tolerance": reference.tolerance, "outputs": outputs}
