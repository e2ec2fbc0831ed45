"""A model of one ONNX node: what the graph taken in gives, and what ONNX's reference evaluator gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, Graph
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise

LATEST = 22


def node_model(
    op: str,
    *inputs: AnyArray | None,
    computed: tuple[int, ...] = (0,),
    outputs: int = 1,
    opset: int = LATEST,
    **attributes: object,
) -> tuple[onnx.ModelProto, dict[str, AnyArray]]:
    """Return a model and the values of its inputs.

    Args:
        inputs: of the node, None for one that is left out.
        computed: which of them are inputs of the model; the others are constants.
    """
    names = [f"i{place}" if value is not None else "" for place, value in enumerate(inputs)]
    results = [f"o{place}" for place in range(outputs)]
    values = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True) if name}
    fed = {names[place]: values[names[place]] for place in computed}
    graph = helper.make_graph(
        [helper.make_node(op, names, results, name="tested", **attributes)],
        "one node",
        [_typed(name, value, value.shape) for name, value in fed.items()],
        [helper.make_empty_tensor_value_info(name) for name in results],
        [numpy_helper.from_array(value, name) for name, value in values.items() if name not in fed],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), fed


def _typed(name: str, value: AnyArray, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)


def expected_of(model: onnx.ModelProto, fed: dict[str, AnyArray]) -> list[AnyArray]:
    """Return what ONNX's reference evaluator gives."""
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, fed)]


def graph_of(model: onnx.ModelProto, like: list[AnyArray]) -> Graph:
    """Return the graph of a model; like: arrays of the types and ranks of its outputs."""
    outputs = [
        _typed(value.name, each, [None] * each.ndim) for value, each in zip(model.graph.output, like, strict=True)
    ]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    with TemporaryDirectory() as folder:
        onnx.save(model, str(Path(folder) / "m.onnx"))
        return import_graph(read_onnx(Path(folder) / "m.onnx"))


def check_node(op: str, *inputs: AnyArray | None, atol: float = 1e-5, **how: object) -> Graph:
    """Hold a node, before and after the passes, to the reference evaluator; how: as in node_model. Return its graph."""
    model, fed = node_model(op, *inputs, **how)  # type: ignore[arg-type]
    expected = expected_of(model, fed)
    graph = graph_of(model, expected)
    held = {name: value.astype(np.int32) if value.dtype == np.int64 else value for name, value in fed.items()}
    for each in (graph, optimise(graph)):
        for have, want in zip(interpret(each, held), expected, strict=True):
            assert have.shape == want.shape
            assert have.dtype.kind == want.dtype.kind
            is_float = have.dtype.kind == "f"
            np.testing.assert_allclose(have, want, rtol=1e-5 if is_float else 0, atol=atol if is_float else 0)
    return graph
