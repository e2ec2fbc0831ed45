"""docs/ops.md is what the tables of the import say. After a wanted change: ``pytest --update-golden``."""

from __future__ import annotations

from pathlib import Path

from prunemap.compiler.layers import LAYER_KINDS
from prunemap.compiler.onnx.file import NEWEST_OPSET, OLDEST_OPSET
from prunemap.compiler.onnx.rules import FAST_RULES, GENERAL_RULES, ONNX_OPS
from tests.onnx_nodes.cases import FOLDED

PAGE = Path(__file__).parents[4] / "docs" / "ops.md"
HEAD = f"""# Operators

What `compile` takes in: ONNX opset {OLDEST_OPSET} up to {NEWEST_OPSET}, fp32; int32, int64 (in 32 bits) and bool for
indices, shapes and conditions. This page is generated from the tables of the import
(`pytest tests/unit/compiler/onnx/test_ops_page.py --update-golden`).

- **maps**: 4-D maps and 2-D vectors have kernels of their own, on channel planes; what does not fit them is general.
- **general**: tensors of any rank, by strides.
- **layer**: carries weights that can be pruned; `inspect`, `map`, `prune` and `bench --per-layer` know it.
- **folded**: taken in where its value is known before the network runs, as every node is whose inputs are constants.

A node that is not taken in is an error that names all such nodes and why; `--fallback onnxruntime` runs them there.

| operator | maps | general | layer | folded |
|---|---|---|---|---|
"""


def _row(name: str) -> str:
    cells = (name in FAST_RULES, name in GENERAL_RULES, name in LAYER_KINDS, name in FOLDED)
    return f"| {name} | {' | '.join('x' if cell else '' for cell in cells)} |"


def test_the_page_of_operators(update_golden: bool) -> None:
    page = HEAD + "\n".join(map(_row, sorted({*ONNX_OPS, *FOLDED}))) + "\n"
    if update_golden:
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page
