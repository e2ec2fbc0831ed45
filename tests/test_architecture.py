"""The shape of the code base: imports go one way, no cycles, small files, short functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "prunemap"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the bottom up; a package may import those of earlier rows and those of its own row named in WITHIN.
ORDER = (
    ("errors", "core"),
    ("schemes", "targets"),
    ("runtime",),
    ("compiler",),
    ("devices",),
    ("latency",),
    ("mapping",),
    ("benchmarking", "pruning", "models", "datasets"),
    ("exporting",),
    ("on_device",),
    ("report",),
    ("pipeline", "plan_search", "sources"),
    ("cli",),
    ("__main__",),
)
WITHIN = {("core", "errors"), ("pruning", "datasets"), ("pruning", "models")}
COMPILER_ORDER = (("graph",), ("formats", "onnx", "passes"), ("lowering",), ("emit",))
"""The folders of the compiler, in the same way; the files beside them join them."""
TORCH = {"models", "datasets", "pruning"}
TORCH_FILES = {Path("mapping/search/policy.py"), Path("mapping/search/reinforce.py")}
MAX_FILE, MAX_FUNCTION = 400, 60


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything the file imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rank(part: str) -> int:
    return next(i for i, row in enumerate(ORDER) if part in row)


def allowed(part: str, other: str) -> bool:
    return part == other or (part, other) in WITHIN or rank(other) < rank(part)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for name in imports_of(path):
        pieces = name.split(".")
        if pieces[0] == "prunemap" and len(pieces) > 1 and not pieces[1].startswith("__"):
            assert allowed(part, pieces[1]), f"{path}: {part} must not import {pieces[1]}"
        if pieces[0] == "torch":
            assert part in TORCH or path.relative_to(PACKAGE) in TORCH_FILES, (
                f"{path}: only {sorted(TORCH)} import torch"
            )


@pytest.mark.parametrize("folder", [folder for row in COMPILER_ORDER for folder in row])
def test_imports_in_the_compiler_go_one_way(folder: str) -> None:
    ranks = {each: i for i, row in enumerate(COMPILER_ORDER) for each in row}
    assert {path.parent.name for path in (PACKAGE / "compiler").glob("*/__init__.py")} == ranks.keys()
    for path in (PACKAGE / "compiler" / folder).rglob("*.py"):
        for name in imports_of(path):
            other = name.removeprefix("prunemap.compiler.").split(".")[0]
            if name.startswith("prunemap.compiler.") and other in ranks:
                assert other == folder or ranks[other] < ranks[folder], f"{path}: {folder} must not import {other}"


def test_modules_form_no_cycle() -> None:
    names = {module_name(path): path for path in FILES}
    edges = {
        name: {target for found in imports_of(path) if (target := closest(found, names)) and target != name}
        for name, path in names.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "import cycle: " + " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in sorted(edges[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in names:
        visit(name, ())


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def closest(imported: str, names: dict[str, Path]) -> str | None:
    """The module that ``from a import b`` means: a.b if that is a module, else a."""
    for name in (imported, imported.rpartition(".")[0]):
        if name in names:
            return name
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE, f"{path} is longer than {MAX_FILE} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{path}: {node.name} has {length} lines, at most {MAX_FUNCTION}"
