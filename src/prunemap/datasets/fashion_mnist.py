"""Fashion-MNIST: 28x28 grey images of ten kinds of clothing; the full set and the subset that ships with prunemap.

Source: Xiao, Rasul, Vollgraf, 2017, https://github.com/zalandoresearch/fashion-mnist (MIT licence).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prunemap.datasets.dataset import Dataset, Normalisation, make_dataset
from prunemap.datasets.download import download
from prunemap.datasets.entry import DatasetOptions
from prunemap.datasets.idx import read_idx
from prunemap.datasets.memory import MemoryImages
from prunemap.errors import Problems, UserError

BUNDLED = Path(__file__).parent / "data"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
NORMALISATION = Normalisation(mean=(0.2860,), std=(0.3530,))
PADDING = 2
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
)
SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def load_subset(options: DatasetOptions) -> Dataset:
    """Return the bundled subset: 10,000 training and 2,000 test images, class-balanced."""
    return _read("fashion-mnist-subset", BUNDLED)


def load_full(options: DatasetOptions) -> Dataset:
    """Return the full set, 60,000 + 10,000 images, from four IDX files in the folder (gzipped or not).

    Raises:
        UserError: a file is missing (and may not be downloaded), corrupted, or does not fit the others.
    """
    missing = [name for name in SHA256 if _find(options.folder, name) is None]
    if missing and options.download:
        for name in missing:
            download([f"{mirror}/{name}" for mirror in MIRRORS], SHA256[name], options.folder / name)
    elif missing:
        problems = Problems(f"dataset: fashion-mnist is not complete in {options.folder} (allow download, or get it)")
        problems.extend(f"no {name} (gzipped or not); it is at {MIRRORS[0]}/{name}" for name in missing)
        problems.raise_if_any()
    return _read("fashion-mnist", options.folder)


def _find(folder: Path, name: str) -> Path | None:
    """Return the file, gzipped or not, None if there is neither."""
    paths = (folder / name, folder / name.removesuffix(".gz"))
    return next((path for path in paths if path.is_file()), None)


def _read(name: str, folder: Path) -> Dataset:
    return make_dataset(name, CLASSES, NORMALISATION, _read_part(folder, "train"), _read_part(folder, "t10k"))


def _read_part(folder: Path, part: str) -> MemoryImages:
    image_path, label_path = (
        _find(folder, f"{part}-{kind}-ubyte.gz") or folder for kind in ("images-idx3", "labels-idx1")
    )
    images, labels = read_idx(image_path, axes=3), read_idx(label_path, axes=1)
    if len(images) != len(labels) or labels.max(initial=0) >= len(CLASSES):
        raise UserError(
            f"dataset: {image_path} has {len(images)} images, {label_path} has {len(labels)} labels up to "
            f"{labels.max(initial=0)}; equal numbers and labels below {len(CLASSES)} are allowed"
        )
    return MemoryImages(images[:, None], labels.astype(np.int64), padding=PADDING)
