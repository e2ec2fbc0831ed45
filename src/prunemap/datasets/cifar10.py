"""CIFAR-10: 32x32 colour images of ten classes, from the official binary archive or its unpacked folder.

Source: Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html. A record is one label byte and 3 x 32 x 32
pixel bytes, channel by channel.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunemap.datasets.dataset import Dataset, Normalisation, make_dataset
from prunemap.datasets.download import download
from prunemap.datasets.entry import DatasetOptions
from prunemap.datasets.memory import MemoryImages
from prunemap.errors import UserError

ARCHIVE = "cifar-10-binary.tar.gz"
UNPACKED = "cifar-10-batches-bin"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NORMALISATION = Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
RECORD = 1 + 3 * 32 * 32
IMAGES_PER_FILE = 10_000


def load_cifar10(options: DatasetOptions, images_per_file: int = IMAGES_PER_FILE) -> Dataset:
    """Return CIFAR-10 from the folder: the archive, or the ``*.bin`` files in it or in ``cifar-10-batches-bin``.

    Raises:
        UserError: the files are missing (and may not be downloaded) or corrupted.
    """
    folder = options.folder
    unpacked = next((place for place in (folder, folder / UNPACKED) if (place / TEST_FILES[0]).is_file()), None)
    if unpacked is not None:
        contents = {name: _read_file(unpacked / name) for name in (*TRAIN_FILES, *TEST_FILES)}
    else:
        contents = _read_archive(_archive(options))
    train, test = (
        _as_images([_records(name, contents[name], images_per_file) for name in names])
        for names in (TRAIN_FILES, TEST_FILES)
    )
    return make_dataset("cifar10", CLASSES, NORMALISATION, train, test)


def _archive(options: DatasetOptions) -> Path:
    path = options.folder / ARCHIVE
    if not path.is_file():
        if not options.download:
            raise UserError(
                f"dataset: cifar10: neither {ARCHIVE} nor {TEST_FILES[0]} is in {options.folder}; "
                f"allow download, or get {URL}"
            )
        download([URL], SHA256, path)
    return path


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"dataset: cifar10: cannot read {path}: {error.strerror}") from None


def _read_archive(path: Path) -> dict[str, bytes]:
    """Return the content of the ``*.bin`` members by file name; nothing is unpacked to disk."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None and member.name.endswith(".bin"):
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"dataset: cifar10: {path} is corrupted ({error}); get it again from {URL}") from None
    missing = [name for name in (*TRAIN_FILES, *TEST_FILES) if name not in contents]
    if missing:
        raise UserError(f"dataset: cifar10: {path} does not contain {', '.join(missing)}; get it again from {URL}")
    return contents


def _records(name: str, content: bytes, count: int) -> NDArray[np.uint8]:
    if len(content) != count * RECORD:
        raise UserError(f"dataset: cifar10: {name} has {len(content)} bytes, {count * RECORD} expected; get it again")
    records = np.frombuffer(content, np.uint8).reshape(count, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise UserError(f"dataset: cifar10: {name} has a label {records[:, 0].max()}, allowed are 0 to 9")
    return records


def _as_images(files: list[NDArray[np.uint8]]) -> MemoryImages:
    records = np.concatenate(files)
    return MemoryImages(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64))
