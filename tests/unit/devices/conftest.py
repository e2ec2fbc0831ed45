from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.devices.fakes import Fake, MakeFake, install_fake


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFake:
    """Puts a command in front of PATH; tries follow each other without pauses."""
    monkeypatch.setattr("prunemap.devices.session.PAUSES_S", (0.0, 0.0))

    def make(name: str, script: str) -> Fake:
        return install_fake(tmp_path, monkeypatch, name, script)

    return make
