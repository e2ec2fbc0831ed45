"""The node tests of the ONNX project: which of them are in, with what for inputs, and why the others are not.

A test is in if all of this holds; what is computed is computed from the test's model, there is no list of names.

- Its model is of the standard domain, its operators are those of opset 9 or newer (unchanged since, if its opset is
  older), without subgraphs, sequences, optionals or strings.
- Its inputs, outputs and initializers are float32, int32, int64 or bool. Where the schema of the operator (of the
  function, for a test of its body, ``…_expanded``) lets a tensor be float32 and it is not, it is data, not places,
  shapes or conditions: such a test is in if the import takes it.
- It runs no training mode.
- Every node's operator is claimed: in ONNX_OPS, or its value is known before the network runs, although one input of
  the test is not: the first float32 one, or the first where none is (but in tests of FOLDED operators alone).
- Neither its outputs, nor that input, nor its float32 inputs are empty.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from prunemap.compiler.graph.ir import AnyArray, Graph
from prunemap.compiler.onnx.file import OLDEST_OPSET, read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.rules import ONNX_OPS
from prunemap.errors import UnsupportedError, UserError

FOLDED = ("Constant", "ConstantOfShape", "Range", "Shape", "Size")
"""Operators that are claimed only where their value is known."""
_TYPES = (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)
_EXPANDED = re.compile(r"_expanded(_ver\d+)?$")


@dataclass(frozen=True)
class Case:
    """A node test: a model with input values and the outputs that it must give."""

    name: str
    model: onnx.ModelProto
    inputs: Mapping[str, AnyArray]
    outputs: tuple[AnyArray, ...]
    rtol: float
    atol: float

    @property
    def kept(self) -> str | None:
        """The input that must be computed: the first float32 one, or the first; none for FOLDED operators alone."""
        if all(node.op_type in FOLDED for node in self.model.graph.node):
            return None
        floats = (name for name, value in self.inputs.items() if value.dtype == np.float32)
        return next(iter((*floats, *self.inputs)), None)


@dataclass(frozen=True)
class Imported:
    """A case as a graph; ``inputs`` are the values of those inputs that did not become constants."""

    case: Case
    graph: Graph
    inputs: Mapping[str, AnyArray]


@cache
def node_cases() -> tuple[tuple[Case, ...], Mapping[str, str]]:
    """Return the cases that are in, and the reason of every one that is out by its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases compute their expected outputs, some overflow
        tests = {test.name: test for test in collect_testcases(None)}
    taken, excluded = [], {}
    for name, test in tests.items():
        base = tests.get(_EXPANDED.sub("", name), test)
        why = _why_not(test, base)
        if why is None:
            taken.append(_case(test))
        else:
            excluded[name] = why
    return tuple(taken), excluded


def _case(test: Any) -> Case:
    inputs, outputs = test.data_sets[0]
    names = [value.name for value in test.model.graph.input]
    arrays = dict(zip(names, map(np.asarray, inputs), strict=True))
    return Case(test.name, test.model, arrays, tuple(map(np.asarray, outputs)), test.rtol, test.atol)


def _why_not(test: Any, base: Any) -> str | None:
    """Return why a test is out; base: the test of the operator itself, where this is the test of its body."""
    model = test.model
    if any(each.domain not in ("", "ai.onnx") for each in (*model.opset_import, *model.graph.node)):
        return "domain"
    if any(
        _schema(model, node).since_version != _schema(model, node, OLDEST_OPSET).since_version
        for node in model.graph.node
    ):
        return "opset"
    why = _why_not_types(model)
    if why is not None:
        return why
    case = _case(test)
    operator = _unclaimed(case)
    if operator is not None:
        return f"operator {operator}"
    if _trains(case):
        return "training"
    computed = (value for name, value in case.inputs.items() if name == case.kept or value.dtype == np.float32)
    if any(value.size == 0 for value in (*computed, *case.outputs)):
        return "empty tensor"
    return "integer or boolean data" if _has_other_data(base.model) and not _is_taken(case) else None


def _is_taken(case: Case) -> bool:
    try:
        with TemporaryDirectory() as folder:
            import_case(case, Path(folder))
    except UnsupportedError:
        return False
    return True


def _schema(model: onnx.ModelProto, node: onnx.NodeProto, oldest: int = 1) -> onnx.defs.OpSchema:
    version = max(oldest, *(each.version for each in model.opset_import))
    return onnx.defs.get_schema(node.op_type, version)


def _why_not_types(model: onnx.ModelProto) -> str | None:
    values = (*model.graph.input, *model.graph.output)
    if any(value.type.WhichOneof("value") != "tensor_type" for value in values):
        return "sequence or optional"
    if any(attribute.HasField("g") or attribute.graphs for node in model.graph.node for attribute in node.attribute):
        return "subgraph"
    types = [value.type.tensor_type.elem_type for value in values] + [
        each.data_type for each in model.graph.initializer
    ]
    odd = [TensorProto.DataType.Name(each) for each in types if each not in _TYPES]
    return f"type {odd[0]}" if odd else None


def _has_other_data(model: onnx.ModelProto) -> bool:
    """Whether integers or booleans are where float32 may be."""
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        schema = _schema(model, node)
        for names, parameters in ((node.input, schema.inputs), (node.output, schema.outputs)):
            for i, name in enumerate(names):
                allowed = parameters[min(i, len(parameters) - 1)].types
                if "tensor(float)" in allowed and types.get(name, TensorProto.FLOAT) != TensorProto.FLOAT:
                    return True
    return False


def _unclaimed(case: Case) -> str | None:
    """Return an operator that is not claimed, None if all are."""
    known = {name for name in case.inputs if name != case.kept} | {each.name for each in case.model.graph.initializer}
    for node in case.model.graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type in ("Constant", "Shape", "Size") or (inputs and known.issuperset(inputs)):
            known |= {*node.output}
        elif node.op_type not in ONNX_OPS:
            return str(node.op_type)
    return None


def _trains(case: Case) -> bool:
    """Whether a node's training_mode, an attribute or an input, is on."""
    for node in case.model.graph.node:
        if any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute):
            return True
        schema = _schema(case.model, node)
        for name, parameter in zip(node.input, schema.inputs, strict=False):
            if parameter.name == "training_mode" and case.inputs.get(name, np.False_).any():
                return True
    return False


def import_case(case: Case, folder: Path) -> Imported:
    """Import a case with as many computed inputs as the import takes: the others become constants.

    Raises:
        UnsupportedError: not even with the first float32 input alone.
    """
    constant = [name for name in case.inputs if name != case.kept]
    graph = _imported(case, constant, folder)
    for name in tuple(constant):
        rest = [each for each in constant if each != name]
        try:
            graph, constant = _imported(case, rest, folder), rest
        except (UnsupportedError, UserError):
            continue  # this one is needed
    return Imported(case, graph, {name: value for name, value in case.inputs.items() if name not in constant})


def _imported(case: Case, constant: Sequence[str], folder: Path) -> Graph:
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    inputs = [value for value in model.graph.input if value.name not in constant]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(numpy_helper.from_array(case.inputs[name], name) for name in constant)
    for each in model.opset_import:  # older cases are in where the operator has not changed since
        each.version = max(each.version, OLDEST_OPSET)
    model.ir_version = max(model.ir_version, 4)  # since then initializers need not be inputs
    onnx.save(model, str(folder / "model.onnx"))
    return import_graph(read_onnx(folder / "model.onnx"))


def batches(cases: Sequence[Case], size: int) -> Iterator[tuple[Case, ...]]:
    """Cut into groups of ``size``."""
    return (tuple(cases[i : i + size]) for i in range(0, len(cases), size))
