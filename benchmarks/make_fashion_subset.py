"""Make the bundled Fashion-MNIST subset: the first 1,000 training and 200 test images of each class, in file order.

Source: https://github.com/zalandoresearch/fashion-mnist (MIT licence, (c) 2017 Zalando SE); the four IDX files are
checked against the SHA-256 of the official content.

    python benchmarks/make_fashion_subset.py FOLDER_WITH_THE_FOUR_IDX_GZ_FILES
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

from prunemap.datasets.idx import read_idx, write_idx

TARGET = Path(__file__).parent.parent / "src" / "prunemap" / "datasets" / "data"
PER_CLASS = {"train": 1000, "t10k": 200}
UNPACKED_SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for name, expected in UNPACKED_SHA256.items():
        if hashlib.sha256(gzip.decompress((folder / name).read_bytes())).hexdigest() != expected:
            raise SystemExit(f"{folder / name} is not the official file")
    for part, count in PER_CLASS.items():
        images_name, labels_name = f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"
        labels = read_idx(folder / labels_name, axes=1)
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))
        write_idx(TARGET / images_name, read_idx(folder / images_name, axes=3)[chosen])
        write_idx(TARGET / labels_name, labels[chosen])


if __name__ == "__main__":
    main()
