"""The network of a recipe: of the zoo, or made by a function of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prunemap.datasets import Dataset, load_dataset
from prunemap.errors import UserError
from prunemap.pruning.recipes.network import NetworkSource

OWN = """
from beside import CLASSES
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, width), nn.Linear(width, CLASSES))

def number():
    return 3

value = 3
"""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("fashion-mnist-subset")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("CLASSES = 10")
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


def test_a_function_of_ones_own_sees_the_files_beside_it(own: Path, data: Dataset) -> None:
    source = NetworkSource(f"{own}:make", {"width": 6}, data)
    first, again, other = (dict(source.build(seed).state_dict()) for seed in (1, 1, 2))
    assert first["1.weight"].shape == (6, 28 * 28)
    assert torch.equal(first["1.weight"], again["1.weight"])
    assert not torch.equal(first["1.weight"], other["1.weight"])
    assert source.info.options == {}, "options of a function may be anything; checkpoints hold numbers"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("own.py:none", {}, r"own\.py has no function 'none'"),
        ("own.py:value", {}, r"own\.py has no function 'value'"),
        ("own.py:make", {"depth": 2}, r"make of .*own\.py fails: TypeError: .*'depth'"),
        ("own.py:number", {}, r"number of .*own\.py returns int, allowed is a module"),
        ("absent.py:make", {}, r"model\.name: no such file"),
        ("broken.py:make", {}, r"broken\.py cannot be imported: SyntaxError"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    own: Path, data: Dataset, name: str, options: dict[str, object], message: str
) -> None:
    (own.parent / "broken.py").write_text("def make(:")
    with pytest.raises(UserError, match=message):
        NetworkSource(str(own.parent / name), options, data).build(0)


def test_options_of_the_zoo_are_numbers(data: Dataset) -> None:
    with pytest.raises(UserError, match=r"model\.options\.width: got 'wide', allowed is a number"):
        NetworkSource("resnet8", {"width": "wide"}, data).build(0)
