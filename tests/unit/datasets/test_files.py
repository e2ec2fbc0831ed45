"""Reading data sets from files: every layout, and every way in which the files can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prunemap.datasets import Dataset, DatasetOptions, fashion_mnist, load_dataset
from prunemap.datasets.cifar10 import RECORD, load_cifar10
from prunemap.datasets.download import download
from prunemap.datasets.idx import read_idx, write_idx
from prunemap.errors import UserError

IDX = {"train": 40, "t10k": 20}


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    for part, count in IDX.items():
        images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    return tmp_path


@pytest.fixture
def cifar_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records = rng.integers(0, 256, (20, RECORD), dtype=np.uint8)
        records[:, 0] = np.arange(20) % 10
        (folder / name).write_bytes(records.tobytes())
    return tmp_path


def save_images(root: Path, part: str, counts: dict[str, int], size: tuple[int, int], suffix: str = ".png") -> None:
    for n, (name, count) in enumerate(counts.items()):
        (root / part / name).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", size, (60 * n, 10 * i, 0))
            image.putpixel((0, 0), (255, 255, 255))
            image.save(root / part / name / f"{i}{suffix}")


# --- IDX


def test_idx_round_trip_and_same_bytes(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", array)
    write_idx(tmp_path / "b.gz", array)
    assert np.array_equal(read_idx(tmp_path / "a.gz", axes=3), array)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: raw[:-20], "corrupted gzip"),
        (lambda raw: gzip.compress(gzip.decompress(raw)[:-3]), "truncated: 21 values, 2x3x4 expected"),
        (lambda raw: gzip.compress(b"\0\0\x0d\x03" + gzip.decompress(raw)[4:]), "not an IDX file of unsigned bytes"),
        (lambda raw: b"", "not an IDX file"),
    ],
)
def test_idx_corruption_is_named(tmp_path: Path, spoil: object, message: str) -> None:
    path = tmp_path / "a.gz"
    write_idx(path, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        read_idx(path, axes=3)


# --- Fashion-MNIST


def test_full_fashion_mnist_gzipped_or_not(idx_folder: Path) -> None:
    packed = load_dataset("fashion-mnist", idx_folder)
    for path in sorted(idx_folder.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = load_dataset("fashion-mnist", idx_folder)
    assert (len(packed.train), len(packed.held_out), len(packed.test)) == (30, 10, 20)
    assert np.array_equal(packed.sample_images(5), plain.sample_images(5))


def test_missing_fashion_mnist_files_are_all_listed(idx_folder: Path) -> None:
    (idx_folder / "train-images-idx3-ubyte.gz").unlink()
    (idx_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError) as caught:
        load_dataset("fashion-mnist", idx_folder)
    message = str(caught.value)
    assert str(idx_folder) in message
    assert "train-images-idx3-ubyte.gz" in message
    assert "t10k-labels-idx1-ubyte.gz" in message
    assert "t10k-images" not in message


def test_fashion_mnist_counts_must_agree(idx_folder: Path) -> None:
    write_idx(idx_folder / "t10k-labels-idx1-ubyte.gz", np.zeros(19, dtype=np.uint8))
    with pytest.raises(UserError, match=r"20 images, .*19 labels"):
        load_dataset("fashion-mnist", idx_folder)


def test_fashion_mnist_downloads_only_what_is_missing(
    idx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    name = "t10k-labels-idx1-ubyte.gz"
    (idx_folder / name).rename(mirror / name)
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (f"{tmp_path.as_uri()}/none", mirror.as_uri()))
    digest = hashlib.sha256((mirror / name).read_bytes()).hexdigest()
    monkeypatch.setattr(fashion_mnist, "SHA256", {**dict.fromkeys(fashion_mnist.SHA256, "0"), name: digest})
    dataset = load_dataset("fashion-mnist", idx_folder, download=True)
    assert len(dataset.test) == 20
    assert (idx_folder / name).read_bytes() == (mirror / name).read_bytes()


# --- download


def test_download_refuses_a_wrong_checksum_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"not what was asked for")
    target = tmp_path / "out" / "file"
    with pytest.raises(UserError, match=r"cannot download file:\n.*source: SHA-256 is [0-9a-f]{64}, expected 00"):
        download([(tmp_path / "source").as_uri()], "00", target)
    assert list(target.parent.iterdir()) == []


def test_download_goes_on_to_the_next_address_when_one_breaks_off(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError("reset by peer")

    content = b"right"
    replies = {"a": Broken(), "b": io.BytesIO(content)}
    download(["a", "b"], hashlib.sha256(content).hexdigest(), tmp_path / "file", opener=replies.__getitem__)
    assert (tmp_path / "file").read_bytes() == content


def test_download_lists_every_address_that_failed(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        download([f"{tmp_path.as_uri()}/a", f"{tmp_path.as_uri()}/b"], "00", tmp_path / "file")
    assert "/a: " in str(caught.value)
    assert "/b: " in str(caught.value)


# --- CIFAR-10


def load_small_cifar(folder: Path) -> Dataset:
    return load_cifar10(DatasetOptions(folder), images_per_file=20)


def test_cifar10_folder_and_archive_give_the_same(cifar_folder: Path) -> None:
    unpacked = load_small_cifar(cifar_folder)
    inside = load_small_cifar(cifar_folder / "cifar-10-batches-bin")
    (cifar_folder / "packed").mkdir()
    with tarfile.open(cifar_folder / "packed" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(cifar_folder / "cifar-10-batches-bin", "cifar-10-batches-bin")
    packed = load_small_cifar(cifar_folder / "packed")
    assert (len(unpacked.train), len(unpacked.held_out), len(unpacked.test)) == (90, 10, 20)
    assert np.array_equal(unpacked.sample_images(4), packed.sample_images(4))
    assert np.array_equal(unpacked.sample_images(4), inside.sample_images(4))


def test_cifar10_records_are_label_then_channels(cifar_folder: Path) -> None:
    record = np.frombuffer((cifar_folder / "cifar-10-batches-bin/test_batch.bin").read_bytes(), np.uint8)[:RECORD]
    source = load_small_cifar(cifar_folder).test.source
    assert source.labels[0] == record[0]
    assert np.array_equal(source.read(np.array([0]), None)[0], record[1:].reshape(3, 32, 32))


def test_cifar10_says_what_is_wrong(cifar_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither cifar-10-binary\.tar\.gz nor test_batch\.bin is in .*empty"):
        load_small_cifar(tmp_path / "empty")
    archive = tmp_path / "broken" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(b"\x1f\x8b not really")
    with pytest.raises(UserError, match="is corrupted"):
        load_small_cifar(archive.parent)
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(cifar_folder / "cifar-10-batches-bin" / "test_batch.bin", "test_batch.bin")
    with pytest.raises(UserError, match=r"does not contain data_batch_1\.bin, .*data_batch_5\.bin; get it again"):
        load_small_cifar(archive.parent)
    file = cifar_folder / "cifar-10-batches-bin" / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3\.bin has 61459 bytes, 61460 expected"):
        load_small_cifar(cifar_folder)
    file.unlink()
    with pytest.raises(UserError, match=r"cannot read .*data_batch_3\.bin"):
        load_small_cifar(cifar_folder)


# --- image folder


def test_small_images_are_held_in_memory_with_measured_normalisation(tmp_path: Path) -> None:
    save_images(tmp_path, "train", {"cat": 12, "dog": 12}, (16, 12))
    save_images(tmp_path, "test", {"cat": 3, "dog": 2}, (16, 12))
    dataset = load_dataset("image-folder", tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.input_shape == (3, 12, 16)
    assert (len(dataset.train), len(dataset.held_out), len(dataset.test)) == (22, 2, 5)
    (batch,) = dataset.test.batches(5)
    assert batch.labels.tolist() == [0, 0, 0, 1, 1]
    everything = np.concatenate([b.images for split in (dataset.train, dataset.held_out) for b in split.batches(99)])
    assert np.allclose(everything.mean(axis=(0, 2, 3)), 0, atol=0.01)
    assert np.allclose(everything.std(axis=(0, 2, 3)), 1, atol=0.01)


def test_photographs_are_cut_to_the_asked_size(tmp_path: Path) -> None:
    save_images(tmp_path, "train", {"cat": 3, "dog": 3}, (100, 80), ".jpg")
    save_images(tmp_path, "val", {"cat": 1, "dog": 1}, (70, 200), ".jpg")
    dataset = load_dataset("image-folder", tmp_path, image_size=56)
    assert dataset.input_shape == (3, 56, 56)
    first, again = (next(iter(dataset.train.training_batches(4, 0, 0))).images for _ in range(2))
    assert first.shape == (4, 3, 56, 56)
    assert np.array_equal(first, again)


def test_centre_crop_takes_the_middle(tmp_path: Path) -> None:
    """A picture of three vertical bands, the middle one white and as wide as the crop sees."""
    save_images(tmp_path, "train", {"a": 2}, (100, 80))
    (tmp_path / "val" / "a").mkdir(parents=True)
    bands = np.zeros((100, 300, 3), np.uint8)
    bands[:, 100:200] = 255
    Image.fromarray(bands).save(tmp_path / "val" / "a" / "0.png")
    source = load_dataset("image-folder", tmp_path, image_size=64).test.source
    assert (source.read(np.array([0]), None) == 255).mean() > 0.95


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        for i in range(2):
            Image.new("L", (8, 8), 100).save(tmp_path / part / "a" / f"{i}.png")
    assert load_dataset("image-folder", tmp_path).input_shape == (3, 8, 8)


def test_image_folder_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no class folders in .*train; expected are train/<class>"):
        load_dataset("image-folder", tmp_path)
    save_images(tmp_path, "train", {"cat": 2, "dog": 2}, (8, 8))
    save_images(tmp_path, "test", {"cat": 2, "cow": 0}, (8, 8))
    with pytest.raises(UserError, match="differ: cow, dog"):
        load_dataset("image-folder", tmp_path)
    (tmp_path / "test" / "cow").rename(tmp_path / "test" / "dog")
    with pytest.raises(UserError, match=r"class folders without images.*\n.*test/dog"):
        load_dataset("image-folder", tmp_path)
    Image.new("RGB", (9, 8)).save(tmp_path / "test" / "dog" / "0.png")
    with pytest.raises(UserError, match=r"test/dog/0\.png cannot be read: it has 9x8 pixels, others 8x8"):
        load_dataset("image-folder", tmp_path)
    (tmp_path / "test" / "dog" / "0.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"test/dog/0\.png cannot be read: cannot identify"):
        load_dataset("image-folder", tmp_path)
