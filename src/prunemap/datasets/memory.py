"""Small images held in memory, augmented whole batches at a time by random crop and flip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MemoryImages:
    """ImageSource over arrays: ``images`` uint8 (N, C, H, W), ``labels`` int64 (N)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    padding: int = 4
    """Black border from which the random crop is cut, in pixels."""

    def read(self, indices: NDArray[np.int64], rng: Generator | None) -> NDArray[np.uint8]:
        images = self.images[indices]
        return images if rng is None else random_flip(random_crop(images, self.padding, rng), rng)


def random_corners(count: int, padding: int, rng: Generator) -> NDArray[np.int64]:
    """Return where :func:`random_crop` cuts: (top, left) of each window in the padded image, (2, N)."""
    return rng.integers(0, 2 * padding + 1, size=(2, count))


def random_mirrors(count: int, rng: Generator) -> NDArray[np.bool_]:
    """Return which images :func:`random_flip` mirrors, (N)."""
    return rng.random(count) < 0.5


def random_crop(images: NDArray[np.uint8], padding: int, rng: Generator) -> NDArray[np.uint8]:
    """Pad each image with ``padding`` zeros on every side and cut a window of the old size at a random place."""
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    top, left = random_corners(count, padding, rng)
    cropped: NDArray[np.uint8] = windows[np.arange(count), :, top, left]
    return cropped


def random_flip(images: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Mirror half of the images left to right."""
    mirrored = random_mirrors(len(images), rng)
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)
