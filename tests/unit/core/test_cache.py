"""The cache: what is kept is found again, a damaged entry is written anew, and it does not grow for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prunemap.core import cache
from prunemap.core.cache import keep, read_kept


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


def test_what_is_kept_is_found_again() -> None:
    assert read_kept("lib", "a") is None
    file = keep("lib", "a", b"one")
    assert file is not None and read_kept("lib", "a") == b"one"
    file.write_bytes(b"o")
    assert keep("lib", "a", b"one") == file and file.read_bytes() == b"one"


def test_the_least_recently_used_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_PART_BYTES", 10)
    for place, name in enumerate("abc"):
        file = keep("lib", name, bytes(3))
        assert file is not None
        os.utime(file, (place, place))
    assert read_kept("lib", "a") is not None  # used now: b is the oldest
    kept = keep("lib", "d", bytes(3))
    assert kept is not None and sorted(each.name for each in kept.parent.iterdir()) == ["a", "c", "d"]
    keep("lib", "large", bytes(99))
    assert [each.name for each in kept.parent.iterdir()] == ["large"], "the last one stays, however large"


def test_where_no_cache_can_be(home: Path) -> None:
    (home / ".cache").write_text("a file")
    assert keep("lib", "a", b"one") is None
    assert read_kept("lib", "a") is None
