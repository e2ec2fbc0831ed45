"""The journal: what was written is there again, what was cut off is not, and nothing foreign is taken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from prunemap.errors import UserError
from prunemap.mapping.search import Evaluation, Journal, JournalHeader, Rung, SearchConfig

HEADER = JournalHeader(about={"model": "net 1", "weights_sha256": "ab"}, config=SearchConfig())


def evaluation(key: str, accuracy: float = 0.5) -> Evaluation:
    rungs = (Rung(steps=0, accuracy=accuracy),)
    return Evaluation(key=key, candidate=(1, 2), rungs=rungs, complete=True, latency_us=12.5, seconds=3.0)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    journal = Journal.begin(tmp_path / "deep" / "search.jsonl", HEADER, resume=True)
    journal.append(evaluation("a"))
    journal.append(evaluation("b"))
    return journal.path


def test_what_was_written_is_read_again(written: Path) -> None:
    assert Journal.begin(written, HEADER, resume=True).evaluations == [evaluation("a"), evaluation("b")]


def test_second_looks_are_kept_apart(written: Path) -> None:
    again = evaluation("a").model_copy(update={"second_look": True})
    Journal.begin(written, HEADER, resume=True).append(again)
    journal = Journal.begin(written, HEADER, resume=True)
    assert [each.key for each in journal.evaluations] == ["a", "b"] and journal.second_looks == [again]


@pytest.mark.parametrize("torn", [b'{"key":"c","cand', b'{"key":"c"}', b"\x00\x00"])
def test_a_line_that_was_cut_off_counts_as_never_written(written: Path, torn: bytes) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole + torn)
    journal = Journal.begin(written, HEADER, resume=True)
    assert written.read_bytes() == whole
    journal.append(evaluation("c"))
    assert [each.key for each in Journal.begin(written, HEADER, resume=True).evaluations] == ["a", "b", "c"]


def test_more_evaluations_may_be_asked_for_later(written: Path) -> None:
    more = HEADER.model_copy(update={"config": SearchConfig(evaluations=500, finalists=9)})
    assert len(Journal.begin(written, more, resume=True).evaluations) == 2


def test_it_is_not_overwritten(written: Path) -> None:
    with pytest.raises(UserError, match="go on with it by --resume"):
        Journal.begin(written, HEADER, resume=False)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (JournalHeader(about={**HEADER.about, "model": "net 2"}, config=HEADER.config), "model: net 1, here net 2"),
        (JournalHeader(about={**HEADER.about, "weights_sha256": "cd"}, config=HEADER.config), "other weights_sha256"),
        (JournalHeader(about=HEADER.about, config=SearchConfig(seed=7)), "seed: 0, here 7"),
        (JournalHeader(about={**HEADER.about, "data": "x"}, config=HEADER.config), "data: nothing, here x"),
    ],
)
def test_the_journal_of_another_search_is_refused_and_left_alone(
    written: Path, header: JournalHeader, words: str
) -> None:
    before = written.read_bytes()
    with pytest.raises(UserError, match="is of another search") as raised:
        Journal.begin(written, header, resume=True)
    assert words in str(raised.value)
    assert written.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\n", b"no json\n", b'{"version":1}\n', b"\xff\xfe\n"])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "search.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not the journal of a search"):
        Journal.begin(path, HEADER, resume=True)
    assert path.read_bytes() == content


def test_damage_in_the_middle_names_the_line(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(lines[0] + b"damaged\n" + lines[2])
    with pytest.raises(UserError, match=r"is damaged:\n  - line 2"):
        Journal.begin(written, HEADER, resume=True)


def test_a_full_disk_loses_nothing(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, before = Journal.begin(written, HEADER, resume=True), written.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"No space left on device; what it holds is kept"):
            journal.append(evaluation("c"))
    assert written.read_bytes() == before
    journal.append(evaluation("c"))
    assert len(Journal.begin(written, HEADER, resume=True).evaluations) == 3


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="journal: cannot write"):
        Journal.begin(tmp_path / "file" / "search.jsonl", HEADER, resume=False)
