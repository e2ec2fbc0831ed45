"""The generated C of small networks, word for word.

After a wanted change: ``pytest --update-golden``, then read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.compiler.emit import emit_program
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise
from prunemap.targets import TARGETS
from tests.networks import residual_network, save

GOLDEN = Path(__file__).parent.parent.parent / "golden"


@pytest.mark.parametrize("scheme", ["dense", "punched:4x2", "unstructured"])
def test_generated_c(scheme: str, tmp_path: Path, update_golden: bool) -> None:
    path = save(residual_network(scheme=scheme), tmp_path / "m.onnx")
    target = TARGETS["x86-64-v4"]
    text = emit_program(lower(optimise(import_graph(read_onnx(path))), target), target)
    golden = GOLDEN / f"residual_{scheme.replace(':', '_')}.c"
    if update_golden:
        golden.write_text(text)
    assert text == golden.read_text()
