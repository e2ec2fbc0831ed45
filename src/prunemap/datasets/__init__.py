"""DATASETS: the image classification sets that prunemap can load, one file each. NumPy only."""

from __future__ import annotations

from pathlib import Path

from prunemap.core.table import by_name, look_up
from prunemap.datasets.cifar10 import load_cifar10
from prunemap.datasets.dataset import Batch, Dataset, Normalisation, Split
from prunemap.datasets.entry import DatasetEntry, DatasetOptions
from prunemap.datasets.fashion_mnist import load_full, load_subset
from prunemap.datasets.image_folder import load_image_folder

__all__ = ["DATASETS", "Batch", "Dataset", "DatasetEntry", "DatasetOptions", "Normalisation", "Split", "load_dataset"]

DATASETS: dict[str, DatasetEntry] = by_name(
    (
        DatasetEntry("fashion-mnist-subset", load_subset),  # 10,000 + 2,000 images of Fashion-MNIST, bundled
        DatasetEntry("fashion-mnist", load_full),  # Fashion-MNIST, 60,000 + 10,000 images, four IDX files
        DatasetEntry("cifar10", load_cifar10),  # CIFAR-10, 50,000 + 10,000 images, the official binary archive
        DatasetEntry("image-folder", load_image_folder),  # train/<class>/* and val/<class>/* or test/<class>/*
    )
)


def load_dataset(
    name: str, folder: str | Path | None = None, *, download: bool = False, image_size: int = 224
) -> Dataset:
    """Return a data set of the table.

    Args:
        folder: where its files are, or are downloaded to; ``data/<name>`` when not given.
        download: whether missing files may be downloaded.
        image_size: pixels per side of photographs (image-folder).

    Raises:
        UserError: no such data set, or its files are missing or corrupted.
    """
    entry = look_up(DATASETS, name, "dataset")
    return entry.load(DatasetOptions(Path(folder or Path("data") / name), download, image_size))
