"""Network inputs from files: .npy, .npz, or a picture."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.artifact import TensorInfo
from prunemap.core.files import existing_file
from prunemap.errors import UserError

Array = NDArray[np.float32]
_DAMAGED = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What NumPy and zipfile raise at a damaged file; the last one at a compression that they do not have."""


def load_inputs(path: Path, infos: tuple[TensorInfo, ...], mean: str = "0", std: str = "1") -> dict[str, Array]:
    """Return the inputs by name, ready for the engine; integers and doubles become fp32.

    Raises:
        UserError: the file cannot be read, or does not have what the network takes.
    """
    existing_file(path, "input")
    if path.suffix == ".npz":
        return {name: _as_floats(value, path) for name, value in _load_npz(path).items()}
    if len(infos) != 1:
        raise UserError(f"input: {path} is one array, the network has {len(infos)} inputs; give them by name in a .npz")
    if path.suffix == ".npy":
        return {infos[0].name: _as_floats(_load_npy(path), path)}
    return {infos[0].name: load_picture(path, infos[0].shape, _channel_values("--mean", mean), _deviations(std))}


def _as_floats(value: NDArray[Any], path: Path) -> Array:
    if value.dtype.kind not in "fiub":
        raise UserError(f"input: {path} holds {value.dtype}, allowed are numbers (no complex ones)")
    return value.astype(np.float32)


def _load_npy(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:  # which numpy leaves open where it is damaged
            value = np.load(file, allow_pickle=False)
    except _DAMAGED as error:
        raise UserError(f"input: {path} is not a .npy file ({error})") from None
    if not isinstance(value, np.ndarray):
        raise UserError(f"input: {path} is not a .npy file, but one of np.savez; name it .npz")
    return value


def _load_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (*_DAMAGED, AttributeError, TypeError) as error:
        raise UserError(f"input: {path} is not a .npz file ({error})") from None


def load_picture(path: Path, shape: tuple[int, ...], mean: Array, std: Array) -> Array:
    """Return a picture as the network's input (1, C, H, W): resized to its size, (x / 255 − mean) / std.

    Raises:
        UserError: it is not a picture, or the network does not take one.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise UserError("input: pictures need pillow; install it with: pip install 'prunemap[train]'") from None
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3):
        raise UserError(f"input: the network takes {list(shape)}, which no picture is; give a .npy or .npz")
    try:
        with Image.open(path) as image:
            size = (shape[3], shape[2])
            pixels = np.asarray(image.convert("RGB" if shape[1] == 3 else "L").resize(size, Image.Resampling.BILINEAR))
    except (UnidentifiedImageError, OSError):
        raise UserError(f"input: {path} is neither .npy, .npz nor a picture") from None
    planes = pixels.reshape(shape[2], shape[3], shape[1]).transpose(2, 0, 1).astype(np.float32) / 255
    result: Array = ((planes - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1))[None].astype(np.float32)
    return result


def _channel_values(option: str, text: str) -> Array:
    try:
        values = np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        raise UserError(f"{option}: got {text!r}, allowed are numbers with commas, such as 0.485,0.456,0.406") from None
    if len(values) not in (1, 3):
        raise UserError(f"{option}: got {len(values)} numbers, allowed are 1 or 3")
    if not np.isfinite(values).all():
        raise UserError(f"{option}: got {text!r}, allowed are finite numbers")
    return values


def _deviations(text: str) -> Array:
    values = _channel_values("--std", text)
    if not (values > 0).all():
        raise UserError(f"--std: got {text!r}, allowed are numbers above 0")
    return values
