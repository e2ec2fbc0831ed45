"""The public names: each can be loaded, and docs/python.md has it."""

from __future__ import annotations

from pathlib import Path

import pytest

import prunemap

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()


@pytest.mark.parametrize("name", prunemap.__all__)
def test_it_is_there_and_documented(name: str) -> None:
    assert getattr(prunemap, name).__doc__
    assert f"`{name}" in PAGE


def test_nothing_else_is() -> None:
    assert sorted(prunemap._HOMES) == sorted(prunemap.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        prunemap.nothing  # noqa: B018
