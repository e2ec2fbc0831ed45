"""Options and arguments that several verbs share, and the few lines that every verb ends with."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console, RenderableType

from prunemap.core.plan import Plan
from prunemap.core.value import read_json
from prunemap.errors import Problems

AnyModel = Annotated[
    Path,
    typer.Argument(
        help="An ONNX file, or one of torch.export.save: it is converted once, by torch.",
        metavar="MODEL.onnx|.pt2",
        show_default=False,
    ),
]
Fallback = Annotated[
    str | None,
    typer.Option(
        "--fallback",
        help="What runs the nodes that cannot be compiled: onnxruntime; default: they are an error.",
        show_default=False,
    ),
]
Artifact = Annotated[Path, typer.Argument(help="A compiled network.", metavar="MODEL.pmap", show_default=False)]
Given = Annotated[
    Path | None, typer.Option("--inputs", help="Inputs: .npy, .npz or a picture; default: random.", show_default=False)
]
Output = Annotated[Path, typer.Option("-o", "--output", help="Where to write the result.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
Threads = Annotated[int, typer.Option("--threads", help="Threads, from 1.")]
TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        help="native, x86-64-v4, x86-64-v3, aarch64, cortex-a55, -a76, -x1, wasm32-simd, wasm32-relaxed-simd.",
    ),
]
Cc = Annotated[str | None, typer.Option("--cc", help="C compiler, such as gcc; default: zig cc.", show_default=False)]
DeviceName = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where to run: local, qemu, node, chromium, ssh:USER@HOST[:PORT], adb[:SERIAL]; default: in this process.",
        show_default=False,
    ),
]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="plan.json of `prunemap map`.", show_default=False)]
NoTune = Annotated[bool, typer.Option("--no-tune", help="Choose tiles by a model instead of measuring: deterministic.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", help="Size of an input: x=1x3x224x224. A symbolic batch alone means 1.", show_default=False
    ),
]

_SHAPE = re.compile(r"(?P<name>.+)=(?P<sizes>[1-9]\d*(x[1-9]\d*)*)")


def parse_shapes(values: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Parse ``--shape`` options.

    Raises:
        UserError: one is not NAME=AxBxC; all are listed.
    """
    shapes, problems = {}, Problems("--shape")
    for value in values or []:
        match = _SHAPE.fullmatch(value)
        if match is None:
            problems.add(f"got {value!r}, allowed is NAME=SIZES, such as x=1x3x224x224")
        else:
            shapes[match["name"]] = tuple(int(size) for size in match["sizes"].split("x"))
    problems.raise_if_any()
    return shapes


def parts(text: str) -> list[str]:
    """Return what stands between the commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, argument: str) -> tuple[float, ...]:
    """Return the numbers between the commas.

    Raises:
        UserError: one is none; all such are listed.
    """
    found, problems = [], Problems(argument)
    for part in parts(text):
        try:
            found.append(float(part))
        except ValueError:
            problems.add(f"got {part!r}, allowed are numbers in (0, 1]")
    problems.raise_if_any()
    return tuple(found)


def read_plan(path: Path | None) -> Plan | None:
    """Read ``--plan`` if it is given."""
    return read_json(path, Plan, "--plan") if path else None


def typed_options(context: typer.Context) -> dict[str, str]:
    """Return the parameters that were given on the command line, by name, as what was typed: an option, an argument."""
    typed = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            is_option = any(each.startswith("-") for each in parameter.opts)
            typed[name] = max(parameter.opts, key=len) if is_option else str(context.params[name])
    return typed


def refuse_options(context: typer.Context, why: str, names: Collection[str]) -> None:
    """Check that none of some parameters was given on the command line.

    Args:
        why: what the message begins with.
        names: of the parameters.

    Raises:
        UserError: some were; all of them are listed.
    """
    problems = Problems(why)
    problems.extend(typed for name, typed in typed_options(context).items() if name in names)
    problems.raise_if_any()


class Result(Protocol):
    """A result."""

    def to_json(self) -> str: ...


def show(value: Result, *tables: RenderableType, as_json: bool) -> None:
    """Print a result: one JSON object, or its tables."""
    if as_json:
        print(value.to_json())
        return
    console = Console()
    for table in tables:
        console.print(table)
