"""DatasetEntry: one row of the DATASETS table, and what a user may say when loading one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunemap.datasets.dataset import Dataset


@dataclass(frozen=True)
class DatasetOptions:
    """Where a data set is and how to read it."""

    folder: Path
    """Where its files are, or are downloaded to."""
    download: bool = False
    """Whether missing files may be downloaded."""
    image_size: int = 224
    """Pixels per side of photographs (image-folder); smaller images keep their own size."""


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that prunemap can load."""

    name: str
    load: Callable[[DatasetOptions], Dataset]
