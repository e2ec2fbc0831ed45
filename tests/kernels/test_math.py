"""Every function of FUNCTIONS in C against its meaning in NumPy: at a million values, at the edges, for all lanes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunemap.compiler.build import KERNELS, RUNTIME, build_library, find_compiler
from prunemap.compiler.graph.expression import DTYPES, evaluate
from prunemap.compiler.graph.functions import FUNCTIONS, expression
from prunemap.compiler.graph.ir import AnyArray, Kind
from prunemap.core.target import Target
from prunemap.errors import UnsupportedError
from prunemap.targets import TARGETS, why_not_here

CC = shutil.which("gcc") or shutil.which("clang")
RUNNABLE = [target for target in TARGETS.values() if not why_not_here(target)]
NO_FMA = replace(RUNNABLE[-1], name="no-fma", cc_flags=(*RUNNABLE[-1].cc_flags, "-mno-fma"))
"""Other machines round after each product."""
BUILDS: list[tuple[Target, int, str | None]] = [
    *((target, target.lanes, None) for target in RUNNABLE),
    *((RUNNABLE[-1], lanes, None) for lanes in (4, 16)),
    *((target, target.lanes, CC) for target in (*RUNNABLE, NO_FMA) if CC is not None),
]
"""For which machine, how many lanes, by which compiler (None = zig cc)."""
HEAD = """#include "pmap.h"
#include "math.h"
#define ARGUMENTS const float *x0, const float *x1, const float *x2, float *y, int n
"""
KINDS: tuple[Kind, ...] = ("f32", "i32", "bool")
POINTS = 1 << 20
SMALLEST = np.float32(2.0**-126)
"""Smaller numbers count as zero in a running program, …"""
UNDERFLOW = 2e-36
"""… also on the way to a result."""
ULPS = 4
EXACT = (
    *("add", "sub", "mul", "div", "min", "max", "mod", "fmod", "neg", "abs", "reciprocal", "sqrt", "sign", "relu"),
    *("floor", "ceil", "round", "leaky_relu", "prelu", "thresholded_relu", "clip", "where", "cast_i32_to_f32"),
)
"""Functions whose value is the one closest to the true one."""
NEAR_ZERO: Mapping[str, float] = {"gelu": 2e-7, "gelu_tanh": 2e-7, "hard_sigmoid": 1e-6, "hard_swish": 1e-6}
"""Absolute errors that are allowed where terms cancel."""
CONSTANTS: Mapping[str, Sequence[tuple[float, ...]]] = {
    "leaky_relu": [(0.01,), (-0.5,)],
    "prelu": [(0.25,)],
    "elu": [(1.0,), (0.3,)],
    "celu": [(1.0,), (2.5,)],
    "selu": [(1.6732632, 1.050701)],
    "hard_sigmoid": [(0.2, 0.5), (1 / 6, 0.5)],
    "thresholded_relu": [(1.0,), (-2.0,)],
    "clip": [(-1.0, 1.0), (0.0, np.inf), (-np.inf, 6.0)],
}
"""Of functions with parameters: what is tried for them."""


def cases() -> list[tuple[str, tuple[Kind, ...]]]:
    """All functions with all kinds of operands that they are defined for."""
    found: list[tuple[str, tuple[Kind, ...]]] = []
    for name, function in FUNCTIONS.items():
        for kind in KINDS:
            kinds = ("bool", *[kind] * 2) if name == "where" else (kind,) * function.arity
            try:
                expression(name, kinds)
            except UnsupportedError:
                continue
            found.append((name, kinds))
    return found


CASES = cases()


def symbol(name: str, kinds: Sequence[Kind]) -> str:
    return "_".join(["f", name, *kinds])


def c_source(lanes: int) -> str:
    """A C function per case: pointers to up to three operands, where the result goes, a count that fills vectors."""
    parts = [f"#define LANES {lanes}\n{HEAD}"]
    for name, kinds in CASES:
        operands = [f"v_load(x{i} + i)" if kind == "f32" else f"(vint)v_load(x{i} + i)" for i, kind in enumerate(kinds)]
        loads = "".join(
            f"    {'vfloat' if kind == 'f32' else 'vint'} a{i} = {operand};\n"
            for i, (kind, operand) in enumerate(zip(kinds, operands, strict=True))
        )
        value = expression(name, kinds).format(*(f"a{i}" for i in range(len(kinds))))
        parts.append(
            f"PMAP_EXPORT void {symbol(name, kinds)}(ARGUMENTS)"
            "{\n  fp_mode mode = fp_flush_denormals();\n  for (int i = 0; i < n; i += LANES) {\n"
            f"{loads}    v_store(y + i, (vfloat)({value}));\n  }}\n  fp_restore(mode);\n  (void)x1, (void)x2;\n}}\n"
        )
    return "".join(parts)


def build_name(build: tuple[Target, int, str | None]) -> str:
    target, lanes, cc = build
    return f"{target.name}-lanes{lanes}-{Path(cc or 'zig').name}"


@pytest.fixture(scope="module", params=BUILDS, ids=build_name)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    target, lanes, cc = request.param
    file = tmp_path_factory.mktemp("math") / "math.so"
    file.write_bytes(build_library(c_source(lanes), target, find_compiler(cc)))
    return ctypes.CDLL(str(file))


def call(library: Any, name: str, kinds: Sequence[Kind], operands: Sequence[AnyArray]) -> AnyArray:
    """Run a C function; a bool is held as an int32 of 0 or 1."""
    held = [np.ascontiguousarray(x.astype(np.int32) if x.dtype == np.bool_ else x) for x in operands]
    count = len(held[0])
    padded = [np.concatenate([x, x[:1].repeat(-count % 16)]) for x in held]
    y = np.empty(len(padded[0]), np.float32)
    pointers = [x.ctypes.data_as(ctypes.c_void_p) for x in padded] + [None] * (3 - len(padded))
    getattr(library, symbol(name, kinds))(*pointers, y.ctypes.data_as(ctypes.c_void_p), len(y))
    return y[:count]


def edges(kind: Kind) -> AnyArray:
    if kind == "bool":
        return np.array([False, True])
    if kind == "i32":
        ends = np.iinfo(np.int32)
        return np.array([0, 1, -1, 2, -2, 3, -3, 7, -7, 100, -100, ends.max, ends.min, ends.min + 1], np.int32)
    positive = [0, 1, 2, 3, 0.5, 1.5, 2.5, 0.1, 1 / 3, 7.25, 20, 88.72, 88.73, 87.33, 103.9, 1e-3, 1e-20, 1e20, 1e38]
    positive += [SMALLEST, 0.625, 0.75, 2**23, 2**23 + 1, 2**24 - 1, 2**22 + 0.5, 2.0**31, 2**31 - 128, 3.4028235e38]
    positive += [np.nextafter(np.float32(1), np.float32(0)), np.nextafter(np.float32(1), np.float32(2)), np.inf, np.nan]
    return np.array([*positive, *(-x for x in positive)], np.float32)


def ordinary(kind: Kind, rng: np.random.Generator, count: int) -> AnyArray:
    """Random numbers: all bit patterns, and a network's."""
    bits = rng.integers(-(2**31), 2**31, count).astype(np.int32)
    if kind == "bool":
        return bits > 0
    if kind == "i32":
        return np.where(rng.random(count) < 0.5, bits, bits % 199 - 99).astype(np.int32)
    some = (bits.view(np.float32), rng.normal(0, 1, count), rng.uniform(-100, 100, count), rng.integers(-9, 10, count))
    x = np.choose(rng.integers(0, len(some), count), [each.astype(np.float32) for each in some])
    return np.where(np.abs(x) < SMALLEST, np.float32(0), x)


@cache
def tried(name: str, kinds: tuple[Kind, ...]) -> tuple[list[AnyArray], AnyArray]:
    """Operands, and the value that they should give."""
    rng = np.random.default_rng(len(name))
    if name in CONSTANTS and kinds[0] == "f32":
        x = np.concatenate([edges("f32"), ordinary("f32", rng, POINTS // 4)])
        columns = [np.repeat(np.array(each, np.float32), len(x)) for each in zip(*CONSTANTS[name], strict=True)]
        operands = [np.tile(x, len(CONSTANTS[name])), *columns]
    else:
        count = POINTS if len(kinds) == 1 else POINTS // 4
        at_edges = np.array(list(product(*(edges(kind) for kind in kinds))), np.float64).T
        operands = [
            np.concatenate([end.astype(DTYPES[kind]), ordinary(kind, rng, count)])
            for end, kind in zip(at_edges, kinds, strict=True)
        ]
    return operands, evaluate((name, *range(len(kinds))), operands)


def errors_in_ulps(name: str, got: AnyArray, expected: AnyArray) -> AnyArray:
    """How far apart fp32 values are; 0 where both are NaN, or below the smallest normal number."""
    with np.errstate(all="ignore"):
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        size = np.maximum(np.abs(expected.astype(np.float64)), SMALLEST)
        finite = np.where(np.isfinite(expected), expected, 0).astype(np.float64)
        apart = np.abs(got.astype(np.float64) - finite)
        ulps = np.where(np.isfinite(expected), apart / np.spacing(size.astype(np.float32)), np.inf)
    close = same | (np.isfinite(expected) & (apart <= NEAR_ZERO.get(name, UNDERFLOW)))
    return np.where(close, 0, np.where(np.isnan(ulps), np.inf, ulps))


@pytest.mark.parametrize(("name", "kinds"), CASES, ids=[symbol(*case)[2:] for case in CASES])
def test_functions_compute_their_meaning(library: Any, name: str, kinds: tuple[Kind, ...]) -> None:
    operands, expected = tried(name, kinds)
    got = call(library, name, kinds, operands)
    if expected.dtype == np.float32:
        apart = errors_in_ulps(name, got, expected)
        allowed = 0.0 if name in EXACT else ULPS
    else:
        got = got.view(np.int32)
        apart, allowed = np.abs(got.astype(np.float64) - expected.astype(np.float64)), 0.0
    worst = int(np.argmax(apart))
    assert apart[worst] <= allowed, (
        f"{name}({', '.join(str(x[worst]) for x in operands)}) = {got[worst]}, not {expected[worst]}: "
        f"{apart[worst]:.1f} apart, {np.count_nonzero(apart > allowed)} of {len(apart)} values are wrong"
    )


@pytest.mark.skipif(CC is None, reason="no gcc or clang on this machine: functions not run under sanitizers")
@pytest.mark.parametrize("target", RUNNABLE, ids=lambda target: target.name)
def test_functions_are_clean_under_sanitizers(target: Target, tmp_path: Path) -> None:
    """All functions of all pairs of edges, whatever the kinds: nothing traps, and nothing but the operands is read."""
    ends = np.concatenate([edges("f32"), edges("i32").view(np.float32)])
    operands = np.array(list(product(ends, ends)), np.float32).T
    columns = np.stack([*operands, operands[0]])[:, : operands.shape[1] // 16 * 16]
    columns.tofile(tmp_path / "operands.bin")
    calls = "".join(f"  {symbol(*case)}(x[0], x[1], x[2], y, COUNT);\n" for case in CASES)
    (tmp_path / "main.c").write_text(
        f"#define COUNT {columns.shape[1]}\n#include <stdio.h>\n{c_source(target.lanes)}"
        "static float x[3][COUNT], y[COUNT];\nint main(void) {\n"
        '  FILE *file = fopen("operands.bin", "rb");\n'
        f"  if (!file || fread(x, sizeof x, 1, file) != 1) return 2;\n{calls}  return fclose(file);\n}}\n"
    )
    flags = [f"-march={target.march}", *target.cc_flags, "-std=gnu11", "-O1", "-g", "-fno-math-errno", "-Wno-psabi"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{KERNELS}", f"-I{RUNTIME}"]
    subprocess.run([str(CC), *flags, "main.c", "-o", "main"], check=True, cwd=tmp_path)
    done = subprocess.run(["./main"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[:6000]
