"""The C files of an export: the program's text with its kernels, and a header that says what it takes and returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

from prunemap.compiler.build import KERNELS, RUNTIME
from prunemap.compiler.emit import comment
from prunemap.core.artifact import TensorInfo
from prunemap.errors import UserError
from prunemap.runtime import Program

_INCLUDE = re.compile(r'^( *#include )"([^"]+)"', re.MULTILINE)
_QUIET = """#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wpsabi"
"""
"""Not every program calls every function of a kernel header; no vector crosses the border of this file."""


def c_files(program: Program, name: str) -> dict[str, bytes]:
    """Return model.c, model.h, weights.bin and the kernels, by path in the folder.

    Raises:
        UserError: the program holds no C text.
    """
    if not program.source:
        raise UserError("export: this .pmap was made by an older prunemap and holds no C text; compile it again")
    text = program.source.decode()
    files = {f"kernels/{header.name}": header.read_bytes() for header in _headers_of(text)}
    files["model.c"] = _INCLUDE.sub(r'\1"kernels/\2"', _QUIET + text).encode()
    files["model.h"] = model_header(program, name).encode()
    files["weights.bin"] = program.weight_blob()
    return files


def _headers_of(text: str) -> list[Path]:
    """The kernel headers that a text includes, and those that these include."""
    found: dict[str, Path] = {}
    wanted = [name for _, name in _INCLUDE.findall(text)]
    while wanted:
        name = wanted.pop()
        if name not in found:
            folder = KERNELS if (KERNELS / name).exists() else RUNTIME
            found[name] = folder / name
            wanted += [other for _, other in _INCLUDE.findall(found[name].read_text(encoding="utf-8"))]
    return sorted(found.values())


def model_header(program: Program, name: str) -> str:
    """Return model.h."""
    manifest = program.manifest
    return f"""/* {comment(name)}: made by prunemap {manifest.prunemap} for {manifest.target}.
 * kernels/pmap.h says how to run it. Tensors are dense, row-major, four bytes per element (integers, bool: int32_t). */
#ifndef MODEL_H
#define MODEL_H

#include "kernels/pmap.h"

#define MODEL_NAME {c_text(name)}
#define MODEL_TARGET {c_text(manifest.target)}
#define MODEL_INPUTS {len(manifest.inputs)}
#define MODEL_OUTPUTS {len(manifest.outputs)}
#define MODEL_SLOTS {len(manifest.slots)}
#define MODEL_WEIGHT_BYTES {program.weights_size}

typedef struct {{
  const char *name, *dtype;
  int32_t rank;
  int64_t elements, shape[{_most_axes(manifest.inputs, manifest.outputs)}];
}} model_tensor;

static const model_tensor model_inputs[] = {{
{_tensors(manifest.inputs)}}};
static const model_tensor model_outputs[] = {{
{_tensors(manifest.outputs)}}};
/* What pmap_time_slots times: layers, inputs, outputs. */
static const char *const model_slots[] = {{
{"".join(f"  {c_text(slot)},{chr(10)}" for slot in manifest.slots)}  ""}};

/* weights.bin, aligned to 64 bytes (weights.c). */
extern const unsigned char model_weights[];

#endif
"""


def _most_axes(*groups: Sequence[TensorInfo]) -> int:
    return max([1, *(len(info.shape) for infos in groups for info in infos)])


def _tensors(infos: Iterable[TensorInfo]) -> str:
    rows = [
        f"  {{{c_text(info.name)}, {c_text(info.dtype)}, {len(info.shape)}, {prod(info.shape)}, "
        f"{{{', '.join(map(str, info.shape)) or '0'}}}}},\n"
        for info in infos
    ]
    return "".join(rows) + '  {"", "", 0, 0, {0}}'


def c_text(text: str) -> str:
    """Return a C string literal; in octal what is no plain character, and ``?``, which may begin a trigraph."""
    plain = {*range(32, 127)} - {*b'"\\?'}
    return '"' + "".join(chr(c) if c in plain else f"\\{c:03o}" for c in text.encode()) + '"'
