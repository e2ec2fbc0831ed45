"""Stages run once, and again when what they depend on changed or their files did."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.core.workspace import Workspace


class Flow:
    """Two stages in a folder: copy `source` to `a`, then `a` to `b`."""

    def __init__(self, folder: Path) -> None:
        self.source, self.a, self.b = folder / "source", folder / "work" / "a", folder / "work" / "b"
        self.source.write_text("one")
        self.ran: list[str] = []

    def run(self, setting: object = 1) -> list[str]:
        """Return which stages really ran."""
        self.ran = []
        work = Workspace(self.a.parent, say=lambda text: None)
        work.stage(
            "first",
            lambda: self.copy("first", self.source, self.a),
            settings=[setting],
            reads=[self.source],
            writes=[self.a],
        )
        work.stage("second", lambda: self.copy("second", self.a, self.b), reads=[self.a], writes=[self.b])
        return self.ran

    def copy(self, name: str, source: Path, target: Path) -> None:
        self.ran.append(name)
        target.parent.mkdir(exist_ok=True)
        target.write_text(source.read_text())


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    flow = Flow(tmp_path)
    assert flow.run() == ["first", "second"]
    return flow


def test_finished_stages_are_reused(flow: Flow) -> None:
    assert flow.run() == []


def test_a_changed_input_runs_what_depends_on_it(flow: Flow) -> None:
    flow.source.write_text("two")
    assert flow.run() == ["first", "second"] and flow.b.read_text() == "two"


def test_a_changed_setting_runs_its_stage_only(flow: Flow) -> None:
    assert flow.run(setting=2) == ["first"]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("edited")])
def test_a_missing_or_edited_output_is_made_anew(flow: Flow, harm) -> None:
    harm(flow.b)
    assert flow.run() == ["second"] and flow.b.read_text() == "one"


def test_an_interrupted_stage_is_not_taken_for_finished(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.source.write_text("two")

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow, "copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flow.run()
    assert flow.run() == ["first", "second"]
