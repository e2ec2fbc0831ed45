"""The generated C of small networks, word for word, and what a tensor's name can do to it: nothing.

After a wanted change: ``pytest --update-golden``, then read the diff.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from prunemap.compiler.emit import emit_program
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise
from prunemap.targets import TARGETS
from tests.networks import OnnxBuilder, residual_network, save

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


@pytest.mark.parametrize("end", ["*/", "*\\\n/", "*\\ \r\n/", "/*"], ids=ascii)
def test_no_name_leaves_its_comment(end: str, tmp_path: Path) -> None:
    b, target = OnnxBuilder(), TARGETS["x86-64-v4"]
    b.nodes.append(onnx.helper.make_node("Softmax", ["x"], [f"a{end} int leaked; /*"], name="first"))
    path = save(b.model([1, 4], b.node("Softmax", *b.nodes[0].output)), tmp_path / "m.onnx")
    text = emit_program(lower(optimise(import_graph(read_onnx(path))), target), target)
    (line,) = [line for line in text.splitlines() if "leaked" in line]
    assert line.startswith("static const tensor ") and line.endswith(" */")
    assert (line.count("/*"), line.count("*/")) == (1, 1)


def test_a_number_that_is_none_is_one_in_c_too(tmp_path: Path) -> None:
    b, target = OnnxBuilder(), TARGETS["x86-64-v4"]
    y = b.node("LayerNormalization", "x", b.constant(np.ones(4, np.float32)), epsilon=float("nan"))
    path = save(b.model([1, 4], y), tmp_path / "m.onnx")
    assert '{__builtin_nanf(""), 0.0f}' in emit_program(lower(optimise(import_graph(read_onnx(path))), target), target)
