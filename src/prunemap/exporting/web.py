"""A folder for web pages and Node: two WebAssembly modules, the weights, one ES module with its types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path

from prunemap.compiler.build import Compiler, build_library
from prunemap.core.artifact import TensorInfo
from prunemap.exporting.reference import Reference
from prunemap.runtime import Program
from prunemap.targets import TARGETS

WEB_FILES = Path(__file__).parent / "web"
VARIANTS = {"model.simd.wasm": "wasm32-simd", "model.relaxed.wasm": "wasm32-relaxed-simd"}


def web_files(program: Program, name: str, reference: Reference, compiler: Compiler) -> dict[str, bytes]:
    """Return the files by name. Both modules are of one C text, so one set of weights serves both."""
    text = program.source.decode()
    files = {file: build_library(text, TARGETS[target], compiler) for file, target in VARIANTS.items()}
    files["weights.bin"] = program.weight_blob()
    manifest = program.manifest
    info = {
        "name": name,
        "inputs": [_tensor(each) for each in manifest.inputs],
        "outputs": [_tensor(each) for each in manifest.outputs],
        "layers": manifest.slots,
        "weightBytes": program.weights_size,
    }
    values = {
        "@NAME@": "".join(c if c.isprintable() else " " for c in name).replace("*/", "* /"),
        "@VERSION@": manifest.prunemap,
        "@INFO@": json.dumps(info),
        "@INPUTS@": _union(manifest.inputs),
        "@OUTPUTS@": _union(manifest.outputs),
    }
    for file in ("model.js", "model.d.ts"):
        source = (WEB_FILES / file).read_text(encoding="utf-8")
        for key, value in values.items():
            source = source.replace(key, value)
        files[file] = source.encode()
    files["reference.json"] = json.dumps(_reference(reference)).encode()
    files["package.json"] = json.dumps({"type": "module", "exports": "./model.js", "types": "./model.d.ts"}).encode()
    return files


def _tensor(info: TensorInfo) -> dict[str, object]:
    return {"name": info.name, "dtype": info.dtype, "shape": info.shape, "elements": prod(info.shape)}


def _union(infos: Sequence[TensorInfo]) -> str:
    return " | ".join(json.dumps(info.name) for info in infos) or "never"


def _reference(reference: Reference) -> dict[str, object]:
    outputs = [{"step": each.step, "values": each.values, "magnitude": each.magnitude} for each in reference.outputs]
    return {"madeBy": reference.made_by, "tolerance": reference.tolerance, "outputs": outputs}
