"""A folder that is a web page: a network pruned and dense, classifying pictures side by side in the browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from prunemap.compiler import compile_model
from prunemap.compiler.build import Compiler, find_compiler
from prunemap.core.value import Value
from prunemap.errors import UserError
from prunemap.exporting.export import FORMATS, write_folder
from prunemap.exporting.reference import make_reference
from prunemap.exporting.web import web_files
from prunemap.pruning import ModelInfo, export_checkpoint, load_checkpoint

PAGE_FILES = Path(__file__).parent / "page"
MARK = "page.json"
"""What tells a folder of an earlier page."""
PICTURES = "pictures"
PICTURE_SUFFIXES = (".svg", ".png", ".jpg", ".jpeg", ".webp")


class Page(Value):
    """What was written."""

    path: str
    size_bytes: int
    """Of all files."""
    weight_bytes: dict[str, int]
    pictures: tuple[str, ...]
    """Their names."""


def export_page(
    pruned: str | Path,
    dense: str | Path,
    output: str | Path,
    *,
    pictures: str | Path | None = None,
    cc: str | None = None,
) -> Page:
    """Write a page that classifies pictures with both networks and shows how long each takes.

    Args:
        pruned, dense: checkpoints of `prunemap train` and `prunemap prune`; they tell the classes and how pictures are
            normalised.
        output: the folder to write; that of an earlier page is replaced.
        pictures: a folder of pictures to put into the page; None = those that come with prunemap and show one of the
            classes.
        cc: see :func:`prunemap.compiler.build.find_compiler`.

    Raises:
        UserError: a checkpoint or picture cannot be read, the two take different pictures or tell different classes,
            or ``output`` cannot be written.
    """
    compiler = find_compiler(cc)
    checkpoints = {"dense": Path(dense), "pruned": Path(pruned)}
    infos = {name: load_checkpoint(path)[1] for name, path in checkpoints.items()}
    info = infos["pruned"]
    for what in ("classes", "input_shape", "mean", "std"):
        ours, other = getattr(info, what), getattr(infos["dense"], what)
        if ours != other:
            raise UserError(f"page: {what} of {pruned} are {ours}, of {dense} {other}; they must be the same")
    shown = read_pictures(Path(pictures)) if pictures else bundled_pictures(info)
    files = {path.name: path.read_bytes() for path in PAGE_FILES.iterdir() if path.is_file()}
    files |= {f"{PICTURES}/{name}": data for name, data in shown.items()}
    weight_bytes = {}
    for name, path in checkpoints.items():
        made, weight_bytes[name] = _network_files(path, name, compiler)
        files |= {f"{name}/{file}": data for file, data in made.items()}
    files[MARK] = json.dumps(_facts(info, weight_bytes, shown)).encode()
    write_folder(Path(output), files, MARK)
    return Page(
        path=str(output),
        size_bytes=sum(map(len, files.values())),
        weight_bytes=weight_bytes,
        pictures=tuple(Path(name).stem for name in shown),
    )


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Return the pictures of a folder by file name.

    Raises:
        UserError: there are none.
    """
    found = sorted(path for path in folder.iterdir() if _is_picture(path)) if folder.is_dir() else []
    if not found:
        raise UserError(f"pictures: {folder} has no picture ({', '.join(PICTURE_SUFFIXES)})")
    return {path.name: path.read_bytes() for path in found}


def bundled_pictures(info: ModelInfo) -> dict[str, bytes]:
    """Return the pictures that come with prunemap and are named as one of the classes."""
    return {
        name: data for name, data in read_pictures(PAGE_FILES / PICTURES).items() if Path(name).stem in info.classes
    }


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES


def _network_files(checkpoint: Path, name: str, compiler: Compiler) -> tuple[dict[str, bytes], int]:
    """Return the files of one network and the bytes of its weights."""
    with TemporaryDirectory(prefix="prunemap-") as folder:
        model = export_checkpoint(checkpoint, Path(folder) / f"{name}.onnx")
        program = compile_model(model, target=FORMATS["web"].default_target, tune=None)
        files = web_files(program, checkpoint.stem, make_reference(program, model), compiler)
    return files, program.weights_size


def _facts(info: ModelInfo, weight_bytes: Mapping[str, int], pictures: Mapping[str, bytes]) -> dict[str, object]:
    """Return what page.js must know."""
    return {
        "network": info.model,
        "classes": info.classes,
        "inputShape": info.input_shape,
        "mean": info.mean,
        "std": info.std,
        "weightBytes": weight_bytes,
        "pictures": [{"file": f"{PICTURES}/{name}", "name": Path(name).stem} for name in pictures],
    }
