"""The DATASETS table, the three splits and the batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prunemap.datasets import DATASETS, Dataset, Normalisation, Split, load_dataset
from prunemap.datasets.dataset import held_out_mask
from prunemap.datasets.memory import MemoryImages, random_crop, random_flip
from prunemap.errors import UserError


@pytest.fixture(scope="module")
def subset() -> Dataset:
    return load_dataset("fashion-mnist-subset")


def numbered(count: int) -> Split:
    """A split whose image n is filled with the value n."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), (count, 1, 4, 4)).copy()
    source = MemoryImages(images, np.arange(count), padding=0)
    return Split(source, np.arange(count), Normalisation((0.0,), (1 / 255,)))


def test_subset_is_balanced_and_split_as_documented(subset: Dataset) -> None:
    assert subset.input_shape == (1, 28, 28)
    for split, count in ((subset.train, 900), (subset.held_out, 100), (subset.test, 200)):
        assert np.bincount(split.labels).tolist() == [count] * 10
    assert not set(subset.train.indices) & set(subset.held_out.indices)


def test_subset_holds_the_real_images(subset: Dataset) -> None:
    """Mean and deviation of the whole real training set are 0.2860 and 0.3530; trousers are dark beside the middle."""
    images = np.concatenate([batch.images for batch in subset.train.batches(1000)])
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02
    trousers = images[subset.train.labels == subset.classes.index("Trouser")]
    assert trousers[:, 0, :, 12:16].mean() > trousers[:, 0, :, :6].mean() + 1


def test_table_names_are_what_load_takes() -> None:
    with pytest.raises(UserError, match=r"got 'mnist', allowed are fashion-mnist-subset, .*image-folder"):
        load_dataset("mnist")
    assert list(DATASETS) == ["fashion-mnist-subset", "fashion-mnist", "cifar10", "image-folder"]


def test_held_out_is_every_tenth_of_each_class() -> None:
    labels = np.array([0, 1] * 25 + [2] * 3)
    mask = held_out_mask(labels)
    assert np.flatnonzero(mask).tolist() == [18, 19, 38, 39, 52]


def test_batches_give_every_image_once_in_order() -> None:
    split = numbered(10)
    values = [image[0, 0, 0] for batch in split.batches(4) for image in batch.images]
    assert np.allclose(values, np.arange(10))
    assert [len(batch.labels) for batch in split.batches(4)] == [4, 4, 2]


def test_training_batches_follow_from_seed_and_epoch() -> None:
    split = numbered(50)

    def order(seed: int, epoch: int) -> list[int]:
        return [int(label) for batch in split.training_batches(8, seed, epoch) for label in batch.labels]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    assert len(order(1, 2)) == 48 == len(set(order(1, 2)))


def test_training_images_belong_to_their_labels() -> None:
    for batch in numbered(50).training_batches(8, 0, 0):
        assert np.allclose(batch.images[:, 0, 0, 0], batch.labels)


def test_a_split_smaller_than_a_batch_gives_one_batch() -> None:
    assert [len(batch.labels) for batch in numbered(5).training_batches(8, 0, 0)] == [5]


def test_training_batches_are_augmented_and_others_are_not(subset: Dataset) -> None:
    source = MemoryImages(subset.train.source.read(np.arange(64), None), np.arange(64))
    split = replace(subset.train, source=source, indices=np.arange(64))
    (plain,) = split.batches(64)
    (augmented,) = split.training_batches(64, 0, 0)
    changed = (augmented.images != plain.images[augmented.labels]).any(axis=(1, 2, 3))
    assert changed.mean() > 0.9


def test_normalisation_per_channel() -> None:
    images = np.stack([np.zeros((2, 2)), np.full((2, 2), 255)])[None].astype(np.uint8)
    out = Normalisation((0.5, 0.25), (0.5, 0.25)).apply(images)
    assert out.dtype == np.float32
    assert np.allclose(out[0, 0], -1)
    assert np.allclose(out[0, 1], 3)


def test_random_crop_cuts_a_window_of_the_padded_image() -> None:
    images = np.arange(1, 1 + 40 * 9, dtype=np.uint16).reshape(40, 1, 3, 3).astype(np.uint8)
    cropped = random_crop(images, 1, np.random.default_rng(0))
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    places = set()
    for before, after in zip(padded, cropped, strict=True):
        matches = [(y, x) for y in range(3) for x in range(3) if np.array_equal(before[:, y : y + 3, x : x + 3], after)]
        assert matches
        places.add(matches[0])
    assert len(places) > 5


def test_random_flip_mirrors_about_half() -> None:
    images = np.arange(4, dtype=np.uint8).reshape(1, 1, 1, 4).repeat(200, axis=0)
    flipped = random_flip(images, np.random.default_rng(0))[:, 0, 0, 0] == 3
    assert 70 < flipped.sum() < 130


def test_sample_images_are_spread_over_the_classes(subset: Dataset) -> None:
    images = subset.sample_images(7)
    assert images.shape == (7, 1, 28, 28)
    assert images.dtype == np.float32
    everything = np.concatenate([batch.images for batch in subset.test.batches(500)])
    assert np.array_equal(images[[0, 3, 6]], everything[[0, 999, 1999]])
    assert len(subset.sample_images(10**6)) == len(subset.test)


def test_processes_share_every_batch() -> None:
    split = numbered(50)
    alone = [batch.labels.tolist() for batch in split.training_batches(8, 3, 1)]
    shares = [
        [batch.labels.tolist() for batch in replace(split, process=(i, 2)).training_batches(8, 3, 1)] for i in (0, 1)
    ]
    for whole, even, odd in zip(alone, *shares, strict=True):
        assert (whole[::2], whole[1::2]) == (even, odd)
    parts = [[int(label) for batch in split.part(i, 3).batches(4) for label in batch.labels] for i in range(3)]
    assert sorted(label for part in parts for label in part) == list(range(50))
    assert list(numbered(1).part(1, 2).batches(4)) == []
