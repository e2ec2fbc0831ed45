"""image-folder: one folder per class, ``train/<class>/*`` and ``val/<class>/*`` (ImageNet) or ``test/<class>/*``.

Images of one small size are held in memory and keep it; anything else is read from its file for every batch:
random resized crop and flip for training, resize and centre crop for evaluation, as ImageNet networks are trained.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import exp, log
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from prunemap.datasets.dataset import Dataset, Normalisation, make_dataset
from prunemap.datasets.entry import DatasetOptions
from prunemap.datasets.memory import MemoryImages
from prunemap.errors import Problems, UserError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
TEST_FOLDERS = ("val", "test")
SMALL = 64
"""Images up to so many pixels per side are held in memory."""
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CROP_AREA, CROP_ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
CROP_TRIES = 10
EVALUATION_MARGIN = 256 / 224
"""Shorter side of the resized image / side of the centre crop."""

Cut = Callable[[Image.Image], Image.Image]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class FileImages:
    """ImageSource over image files, cut to ``size`` × ``size``."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    size: int

    def read(self, indices: NDArray[np.int64], rng: Generator | None) -> NDArray[np.uint8]:
        cuts: Sequence[Cut]
        if rng is None:
            cuts = [partial(centre_crop, size=self.size)] * len(indices)
        else:
            cuts = [partial(random_resized_crop, size=self.size, rng=child) for child in rng.spawn(len(indices))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.stack(list(pool.map(_read_image, [self.paths[i] for i in indices], cuts)))


def load_image_folder(options: DatasetOptions) -> Dataset:
    """Return the data set in a folder.

    Raises:
        UserError: a folder is missing or empty, the classes of the two parts differ, or an image cannot be read.
    """
    root = options.folder
    test_root = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), root / TEST_FOLDERS[0])
    roots = (root / "train", test_root)
    classes, test_classes = (_class_names(part) for part in roots)
    if classes != test_classes:
        different = ", ".join(sorted(set(classes) ^ set(test_classes))[:8])
        raise UserError(f"dataset: the class folders of {roots[0]} and {test_root} differ: {different}")
    train_files, test_files = (_files_by_class(part, classes) for part in roots)
    small = _small_size(train_files)
    if small is None:
        train, test = (_file_images(files, options.image_size) for files in (train_files, test_files))
        return make_dataset("image-folder", classes, IMAGENET, train, test)
    train_images, test_images = (_memory_images(files, small) for files in (train_files, test_files))
    return make_dataset("image-folder", classes, _measured(train_images.images), train_images, test_images)


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to ``size`` · 256/224 and cut the middle ``size`` × ``size``."""
    scale = size * EVALUATION_MARGIN / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size))


def random_resized_crop(image: Image.Image, size: int, rng: Generator) -> Image.Image:
    """Cut a random 8 to 100 % of the area with a random aspect 3/4 to 4/3, resize it, mirror it half of the time."""
    width, height = image.size
    for _ in range(CROP_TRIES):
        area = width * height * rng.uniform(*CROP_AREA)
        aspect = exp(rng.uniform(log(CROP_ASPECT[0]), log(CROP_ASPECT[1])))
        cut_width, cut_height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < cut_width <= width and 0 < cut_height <= height:
            break
    else:
        cut_width = cut_height = min(width, height)
    left, top = rng.integers(0, width - cut_width + 1), rng.integers(0, height - cut_height + 1)
    box = (left, top, left + cut_width, top + cut_height)
    cut = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cut


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir())) if folder.is_dir() else ()
    if not names:
        raise UserError(
            f"dataset: image-folder: no class folders in {folder}; expected are train/<class>/*.jpg and "
            f"{' or '.join(f'{name}/<class>/*.jpg' for name in TEST_FOLDERS)}"
        )
    return names


def _files_by_class(folder: Path, classes: Sequence[str]) -> list[list[Path]]:
    problems = Problems(f"dataset: image-folder: class folders without images ({', '.join(sorted(EXTENSIONS))})")
    files = []
    for name in classes:
        paths = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in EXTENSIONS)
        if not paths:
            problems.add(str(folder / name))
        files.append(paths)
    problems.raise_if_any()
    return files


def _small_size(files: Sequence[Sequence[Path]]) -> tuple[int, int] | None:
    """Return (W, H) if the first images of all classes are of one small size, else None."""
    sizes = {_read(paths[0], lambda image: image.size) for paths in files}
    return sizes.pop() if len(sizes) == 1 and max(max(sizes)) <= SMALL else None


def _labels(files: Sequence[Sequence[Path]]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(files)), [len(paths) for paths in files])


def _file_images(files: Sequence[Sequence[Path]], size: int) -> FileImages:
    return FileImages(tuple(path for paths in files for path in paths), _labels(files), size)


def _memory_images(files: Sequence[Sequence[Path]], size: tuple[int, int]) -> MemoryImages:
    """Read every image.

    Raises:
        UserError: one is not of that size.
    """

    def same_size(image: Image.Image) -> Image.Image:
        if image.size != size:
            raise ValueError(f"it has {'x'.join(map(str, image.size))} pixels, others {'x'.join(map(str, size))}")
        return image

    paths = [path for paths in files for path in paths]
    shown = track(paths, "reading images", console=Console(stderr=True), transient=True)
    return MemoryImages(np.stack([_read_image(path, same_size) for path in shown]), _labels(files))


def _measured(images: NDArray[np.uint8]) -> Normalisation:
    """Return mean and standard deviation of each channel, by its histogram: no float copy of the images is made."""
    values = np.arange(256) / 255
    shares = [np.bincount(images[:, c].ravel(), minlength=256) / images[:, c].size for c in range(images.shape[1])]
    means = [float(share @ values) for share in shares]
    stds = [float((share @ (values - mean) ** 2) ** 0.5) for share, mean in zip(shares, means, strict=True)]
    return Normalisation(tuple(round(mean, 4) for mean in means), tuple(max(round(std, 4), 1e-4) for std in stds))


def _read_image(path: Path, cut: Cut) -> NDArray[np.uint8]:
    """Return the cut image as RGB (3, H, W)."""
    pixels: NDArray[np.uint8] = _read(path, lambda image: np.asarray(cut(image.convert("RGB"))))
    return pixels.transpose(2, 0, 1)


def _read(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """Return ``use(image)``.

    Raises:
        UserError: the file is not an image or is corrupted.
    """
    try:
        with Image.open(path) as image:
            return use(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # PIL: cannot be decoded
        raise UserError(f"dataset: image {path} cannot be read: {error}") from None
