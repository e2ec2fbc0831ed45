"""A small network and data that it learns in a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.datasets import Dataset, Normalisation
from prunemap.datasets.dataset import make_dataset
from prunemap.datasets.memory import MemoryImages


class SmallNet(nn.Module):
    """Everything that matters to training: batch norm, dropout, a depthwise and a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.conv1(x)))
        x = torch.relu(self.conv2(torch.relu(self.depthwise(x))))
        return self.fc(self.dropout(x.mean((2, 3))))


def stripes(count: int, seed: int) -> MemoryImages:
    """Noise with a horizontal stripe, a vertical stripe or none."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (count, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(count) % 3
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(1, 7)
        if label == 0:
            image[0, place] = 250
        if label == 1:
            image[0, :, place] = 250
    return MemoryImages(images, labels, padding=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are not worth a second thread, and two threads suffer on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data() -> Dataset:
    return make_dataset(
        "stripes", ("across", "down", "none"), Normalisation((0.2,), (0.2,)), stripes(240, 0), stripes(60, 1)
    )


@pytest.fixture
def make_net() -> Callable[[], SmallNet]:
    """Makes the same network every time."""

    def make() -> SmallNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SmallNet()

    return make


@pytest.fixture
def net(make_net: Callable[[], SmallNet]) -> SmallNet:
    return make_net()


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Makes a plan with the same choice for every layer but ``dense``."""

    def make(layers: list[LayerSpec], scheme: str, density: float, dense: tuple[str, ...] = ()) -> Plan:
        choices = [("dense", 1.0) if layer.module in dense else (scheme, density) for layer in layers]
        pairs = zip(layers, choices, strict=True)
        return Plan(
            layers=tuple(PlanLayer.of(layer, SchemeSpec.parse(name), density) for layer, (name, density) in pairs)
        )

    return make
