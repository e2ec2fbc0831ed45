"""Dataset: images with labels in three fixed splits, and the batches of a split.

Images are uint8 (N, C, H, W) until a batch is made; a batch is normalised float32. What is random follows from
(seed, epoch, batch) alone, so a resumed run sees the same batches as one that was never stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

HELD_OUT_EVERY = 10
"""One of so many training images of each class is held out."""


class Batch(NamedTuple):
    """Images (N, C, H, W), normalised float32, and labels (N), int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class ImageSource(Protocol):
    """Where images come from: memory or files."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every image, (N)."""

    def read(self, indices: NDArray[np.int64], rng: Generator | None) -> NDArray[np.uint8]:
        """Return those images (N, C, H, W); randomly augmented when ``rng`` is given."""


@dataclass(frozen=True)
class Normalisation:
    """Per channel, on the scale 0 to 1: x → (x / 255 − mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalise uint8 images (N, C, H, W)."""
        mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        return np.ascontiguousarray((images - 255 * mean) / (255 * std), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Split:
    """Some of the images of a source."""

    source: ImageSource
    indices: NDArray[np.int64]
    normalisation: Normalisation
    process: tuple[int, int] = (0, 1)
    """Number of the process and how many share each training batch."""

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.source.labels[self.indices]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield every image once, in order, as it is."""
        readers = [self._reader(chunk, None) for chunk in _chunks(self.indices, size)]
        return _one_ahead(readers) if readers else iter(())

    def part(self, index: int, count: int) -> Split:
        """Return every ``count``-th image from ``index`` on."""
        return self if count == 1 else replace(self, indices=self.indices[index::count])

    def training_batches(self, size: int, seed: int, epoch: int) -> Iterator[Batch]:
        """Yield ``training_steps(size)`` full batches, shuffled and augmented; what does not fill one is left out."""
        return _one_ahead([self._reader(chunk, rng) for chunk, rng in self.training_draws(size, seed, epoch)])

    def training_draws(self, size: int, seed: int, epoch: int) -> list[tuple[NDArray[np.int64], Generator]]:
        """Return what is random in an epoch: of each training batch the images and what augments them.

        Of several processes each has its part of every batch, so that together they train as one does.
        """
        index, count = self.process
        shuffled = np.random.default_rng((seed, epoch)).permutation(self.indices)
        chunks = _chunks(shuffled, size)[: self.training_steps(size)]
        return [
            (chunk[index::count], np.random.default_rng((seed, epoch, step, *([index] if index else []))))
            for step, chunk in enumerate(chunks)
        ]

    def training_steps(self, size: int) -> int:
        """Number of training batches of an epoch."""
        return max(1, len(self) // size)

    def _reader(self, chunk: NDArray[np.int64], rng: Generator | None) -> Callable[[], Batch]:
        def read() -> Batch:
            return Batch(self.normalisation.apply(self.source.read(chunk, rng)), self.source.labels[chunk])

        return read


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set: names of the classes and three splits.

    Choices (epochs, plans, …) are made on ``held_out``; ``test`` is for the final figure only.
    """

    name: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """(C, H, W) of one image."""
    normalisation: Normalisation
    train: Split
    held_out: Split
    test: Split

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that follow from the sizes, the classes, the normalisation and the labels of all splits."""
        digest = hashlib.sha256(repr((self.classes, self.input_shape, self.normalisation)).encode())
        for split in (self.train, self.held_out, self.test):
            digest.update(split.labels.tobytes())
        return digest.hexdigest()[:8]

    def sample_images(self, count: int) -> NDArray[np.float32]:
        """Return ``count`` normalised test images (N, C, H, W), evenly spread over the test set."""
        chosen = np.linspace(0, len(self.test) - 1, min(count, len(self.test))).astype(np.int64)
        images = self.test.source.read(self.test.indices[chosen], None)
        return self.normalisation.apply(images)


def make_dataset(
    name: str, classes: tuple[str, ...], normalisation: Normalisation, train: ImageSource, test: ImageSource
) -> Dataset:
    """Return the data set of a training and a test source, with its fixed held-out split."""
    held_out = held_out_mask(train.labels)
    first = test.read(np.zeros(1, np.int64), None)
    return Dataset(
        name=name,
        classes=classes,
        input_shape=first.shape[1:],
        normalisation=normalisation,
        train=Split(train, np.flatnonzero(~held_out), normalisation),
        held_out=Split(train, np.flatnonzero(held_out), normalisation),
        test=Split(test, np.arange(len(test.labels)), normalisation),
    )


def held_out_mask(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which training images are held out: of each class the 10th, 20th, … (of fewer than 10, the last)."""
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mask[members[min(HELD_OUT_EVERY, len(members)) - 1 :: HELD_OUT_EVERY]] = True
    return mask


def _chunks(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _one_ahead(readers: list[Callable[[], Batch]]) -> Iterator[Batch]:
    """Yield what the readers return, reading the next batch in a thread while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        pending = worker.submit(readers[0])
        for reader in readers[1:]:
            ready, pending = pending, worker.submit(reader)
            yield ready.result()
        yield pending.result()
