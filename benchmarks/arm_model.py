"""ARM inner loops by llvm-mca: multiply-adds per cycle of the hot loops of every family of kernels. A model only.

    python benchmarks/arm_model.py [--llvm-mca llvm-mca-19]

Needs llvm-mca of LLVM 19 or later, which has models of Neoverse N1 and V1. LLVM has none of its own for Cortex-A76 and
X1 and takes that of Cortex-A57 (one vector multiply-add per cycle) for both; N1 is A76 and V1 is X1 but for what
servers need, so they stand for these cores, and A57's is shown beside them. The limit is what a loop of independent
multiply-adds reaches in the same model. Loads are taken to hit L1; stores, starts of tiles and caches are not seen.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from prunemap.compiler.build import KERNELS, RUNTIME, find_compiler
from prunemap.compiler.emit import emit_program
from prunemap.compiler.formats import group_rows, masks_of
from prunemap.compiler.graph.ir import Conv, Graph, Linear, Node
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.lowering.lower import lower
from prunemap.core.files import write_text
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.target import Target
from prunemap.core.value import Value
from prunemap.report.text import new_table, percent
from prunemap.schemes import make_mask
from prunemap.targets import TARGETS

RESULT = Path(__file__).parent / "results" / "arm-model-llvm-mca.json"
ITERATIONS = 300
BAR, BAR_FAMILY, BAR_CORES = 0.8, "punched 8 filters", ("neoverse-n1", "neoverse-v1")
CORES: Mapping[str, tuple[str, ...]] = {
    "cortex-a55": ("cortex-a55",),
    "cortex-a76": ("neoverse-n1", "cortex-a76"),
    "cortex-x1": ("neoverse-v1", "cortex-x1"),
}
"""Target → the models of llvm-mca that stand for it, the closest first."""
_FMLA = re.compile(r"^\s*fml[as]\s+v\d+\.4s")
_LABEL, _BRANCH = re.compile(r"^(\.L\w+):"), re.compile(r"^\s*(?:b\.\w+|b|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.L\w+)")
_FUNCTION = re.compile(r"^([A-Za-z_]\w*):")
_INSTRUCTION = re.compile(r"^\s+[a-z]")


class Row(Value):
    """The hot loop of one kernel on one modelled core."""

    family: str
    kernel: str
    target: str
    model: str
    multiply_adds: float
    """Vector ones, of four, per turn of a loop."""
    instructions: float
    cycles: float
    per_cycle: float
    limit: float
    share: float


class ArmModel(Value):
    """The result file."""

    note: str = "a model (llvm-mca), not a measurement: no ARM core has run this"
    llvm: str
    compiler: str
    command: str = "python benchmarks/arm_model.py"
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Family:
    """A layer that one family of kernels runs."""

    name: str
    op: Conv | Linear
    x: tuple[int, ...]
    filters: int = 0
    """Of the tile to look at; 0 = the model's first choice."""
    masked: bool = False


def families() -> list[Family]:
    """The families of the issue, each as one layer of usual size."""
    rng = np.random.default_rng(0)

    def conv(scheme: str, kernel: int, density: float = 0.2) -> Conv:
        weight = rng.standard_normal((64, 64, kernel, kernel), np.float32)
        weight *= make_mask(weight, SchemeSpec.parse(scheme), density)
        return Conv(weight, np.zeros(64, np.float32), pads=(kernel // 2,) * 4)

    def depthwise(kernel: int, stride: int) -> Conv:
        weight = rng.standard_normal((64, 1, kernel, kernel), np.float32)
        return Conv(weight, np.zeros(64, np.float32), (stride, stride), (kernel // 2,) * 4, groups=64)

    def linear(scheme: str, density: float = 0.1) -> Linear:
        weight = rng.standard_normal((512, 512), np.float32)
        return Linear(weight * make_mask(weight, SchemeSpec.parse(scheme), density), np.zeros(512, np.float32))

    maps = (1, 64, 28, 28)
    return [
        Family("punched 8 filters", conv("punched:8x4", 3), maps, 8),
        Family("punched 8 filters, 1x1", conv("punched:8x4", 1), maps, 8),
        Family("punched 4 filters", conv("punched:4x4", 3), maps, 4),
        Family("pattern", conv("pattern", 3, 4 / 9), maps, 4, masked=True),
        Family("unstructured, 4 filters", conv("unstructured", 3, 0.1), maps, 4, masked=True),
        Family("unstructured, 2 filters", conv("unstructured", 3, 0.1), maps, 2, masked=True),
        Family("depthwise 3x3", depthwise(3, 1), maps),
        Family("depthwise 3x3, stride 2", depthwise(3, 2), maps),
        Family("depthwise 5x5", depthwise(5, 1), maps),
        Family("linear, dense", linear("dense"), (1, 512)),
        Family("linear, block of 8", linear("block:8x4"), (1, 512)),
        Family("linear, unstructured", linear("unstructured"), (1, 512)),
    ]


def assembly_of(family: Family, target: Target) -> tuple[str, str]:
    """Return the name of the kernel and the assembly of a program of this layer alone."""
    graph: Graph = make_graph({"x": family.x}, ["y"], [Node("n", family.op, ("x",), "y")])
    tiles = lower(graph, target).candidates.get("n", ())
    wanted = [tile for tile in tiles if (tile.filters, tile.masked) == (family.filters, family.masked)]
    chosen = {"n": max(wanted, key=lambda tile: tile.vectors)} if family.filters and wanted else None
    if family.filters and not wanted:
        raise SystemExit(f"{family.name}: no such tile for {target.name}: {tiles}")
    lowered = lower(graph, target, tiles=chosen)
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "program.c", Path(folder) / "program.s"
        source.write_text(emit_program(lowered, target), encoding="utf-8")
        flags = [*compiler.flags(target), f"-I{KERNELS}", f"-I{RUNTIME}"]
        subprocess.run([*compiler.command, *flags, "-S", str(source), "-o", str(made)], check=True, capture_output=True)
        return lowered.choices[0].kernel, made.read_text(encoding="utf-8")


def hot_loops(family: Family, assembly: str) -> list[tuple[float, list[str]]]:
    """Return the innermost loops with multiply-adds and how often each turns, relative to the others.

    That is the one with the most of them; of mask runs, which have a loop for each set of rows, all, and each set of so
    many rows turns as often as the weights have such units.
    """
    lines: list[str] = []
    found: list[list[str]] = []
    for line in [*assembly.splitlines(), "end:"]:
        if _FUNCTION.match(line):
            found += _innermost(lines) if lines and lines[0].startswith("f32_") else []
            lines = []
        lines.append(line)
    loops = [loop for loop in found if _count(loop)]
    if not family.masked:
        return [(1.0, max(loops, key=_count))]
    kept = family.op.weight.reshape(len(family.op.weight), -1) != 0
    rows = np.bincount(np.bitwise_count(masks_of(kept, group_rows(kept, family.filters))).ravel())
    vectors = max(map(_count, loops)) // family.filters
    weighted = []
    for count in range(1, family.filters + 1):
        alike = [loop for loop in loops if _count(loop) == count * vectors]
        units = float(rows[count]) if count < len(rows) else 0.0
        if units and not alike:
            raise SystemExit(f"{family.name}: no loop of {count} x {vectors} multiply-adds")
        weighted += [(units / len(alike), loop) for loop in alike]
    return weighted


def _innermost(lines: list[str]) -> list[list[str]]:
    at = {match[1]: i for i, line in enumerate(lines) if (match := _LABEL.match(line))}
    jumps = [(at[m[1]], i) for i, line in enumerate(lines) if (m := _BRANCH.match(line)) and at.get(m[1], i) < i]
    inner = [(a, b) for a, b in jumps if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in jumps)]
    return [[line for line in lines[a : b + 1] if _INSTRUCTION.match(line)] for a, b in inner]


def _count(loop: list[str]) -> int:
    return sum(bool(_FMLA.match(line)) for line in loop)


def cycles_of(mca: str, cpu: str, loop: list[str]) -> float:
    """Return the cycles that a turn of a loop takes."""
    # Where a branch goes does not matter, but its label must be known.
    body = "\n".join(re.sub(r"\.L\w+", ".Lhere", line) for line in loop)
    command = [mca, "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}", "-json"]
    done = subprocess.run(command, input=f".Lhere:\n{body}\n", capture_output=True, text=True, check=True)
    (region,) = json.loads(done.stdout)["CodeRegions"]
    return float(region["SummaryView"]["TotalCycles"]) / ITERATIONS


def limit_of(mca: str, cpu: str) -> float:
    """Return the vector multiply-adds per cycle that a loop of independent ones reaches."""
    loop = [f"\tfmla v{i}.4s, v30.4s, v31.s[{i % 4}]" for i in range(24)]
    return len(loop) / cycles_of(mca, cpu, loop)


def row_of(mca: str, family: Family, target: str, cpu: str, kernel: str, assembly: str) -> Row:
    """Model the hot loops of a layer on a core."""
    loops = [(turns, loop) for turns, loop in hot_loops(family, assembly) if turns]
    total = sum(turns for turns, _ in loops)
    cycles = sum(turns * cycles_of(mca, cpu, loop) for turns, loop in loops) / total
    multiply_adds = sum(turns * _count(loop) for turns, loop in loops) / total
    limit = limit_of(mca, cpu)
    return Row(
        family=family.name,
        kernel=kernel,
        target=target,
        model=cpu,
        multiply_adds=round(multiply_adds, 2),
        instructions=round(sum(turns * len(loop) for turns, loop in loops) / total, 2),
        cycles=round(cycles, 2),
        per_cycle=round(multiply_adds / cycles, 3),
        limit=round(limit, 2),
        share=round(multiply_adds / cycles / limit, 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llvm-mca", default="llvm-mca-19")
    mca = parser.parse_args().llvm_mca
    said = subprocess.run([mca, "--version"], capture_output=True, text=True, check=True).stdout
    rows = []
    for family in families():
        for target, cpus in CORES.items():
            kernel, assembly = assembly_of(family, TARGETS[target])
            rows += [row_of(mca, family, target, cpu, kernel, assembly) for cpu in cpus]
    llvm = " ".join(re.findall(r"LLVM version (\S+)", said))
    result = ArmModel(llvm=llvm, compiler=find_compiler().version, rows=tuple(rows))
    write_text(RESULT, result.to_json() + "\n")
    headers = ("family", "kernel", "model", "FMA", "cycles", "per cycle", "share")
    table = new_table("ARM inner loops, a model", *headers, left=3)
    for row in rows:
        figures = (f"{row.multiply_adds:.1f}", f"{row.cycles:.1f}", f"{row.per_cycle:.2f}", percent(row.share))
        table.add_row(row.family, row.kernel, row.model, *figures)
    Console(width=130).print(table)
    short = [row for row in rows if row.family == BAR_FAMILY and row.model in BAR_CORES and row.share < BAR]
    if short:
        raise SystemExit(f"below {percent(BAR)} for {BAR_FAMILY}: {', '.join(row.model for row in short)}")


if __name__ == "__main__":
    main()
