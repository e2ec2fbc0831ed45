"""ONNX → Graph. Every node that an output needs and that cannot be taken in is found before the import gives up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from prunemap.compiler.graph.ir import Conv, Elementwise, Graph, Identity, Kind, Node, Reshape, Shape
from prunemap.compiler.graph.shapes import make_graph, output_shape
from prunemap.compiler.graph.verify import misfit, verify_graph
from prunemap.compiler.onnx.file import constants_of, graph_inputs, known_shapes, node_name, type_name
from prunemap.compiler.onnx.fold import folded
from prunemap.compiler.onnx.needed import needed_nodes
from prunemap.compiler.onnx.node import KINDS, NotTaken, OnnxNode
from prunemap.compiler.onnx.one_row import on_one_row
from prunemap.compiler.onnx.rules import FAST_RULES, GENERAL_RULES, ONNX_OPS
from prunemap.core.inspection import UnsupportedNode
from prunemap.errors import Problems, UnsupportedError, UserError

LONE_OPSET = 22
"""Of ONNX, of a node outside of any model."""


def import_graph(model: onnx.ModelProto) -> Graph:
    """Return the graph of a model from :func:`prunemap.compiler.onnx.file.read_onnx`.

    Raises:
        UnsupportedError: some nodes cannot be taken in; all of them are listed.
    """
    taken = _take_nodes(model)
    if taken.unsupported:
        shown = [f"  - {each.name} ({each.op}): {each.why}" for each in taken.unsupported[:9]]
        more = len(taken.unsupported) - 9
        rest = [f"  … and {more} more; `prunemap inspect` lists them all"] if more > 0 else []
        instead = "with --fallback onnxruntime they run in ONNX Runtime, and everything else here"
        raise UnsupportedError("\n".join(["model: these nodes are not supported yet:", *shown, *rest, instead]))
    inputs = {value.name: known_shapes(model)[value.name] for value in graph_inputs(model)}
    kinds = {name: taken.kinds[name] for name in inputs}
    outputs = [value.name for value in model.graph.output]
    graph = verify_graph(make_graph(inputs, outputs, taken.nodes, kinds), "import")
    _check_output_kinds(model, graph)
    return graph


def _check_output_kinds(model: onnx.ModelProto, graph: Graph) -> None:
    """Raise ``UserError`` for outputs of another type than the model says; what they are returned as depends on it."""
    problems = Problems("model: types of outputs")
    for value in model.graph.output:
        number, made = value.type.tensor_type.elem_type, graph.kinds[value.name]
        if number and KINDS.get(number) != made:
            problems.add(f"{value.name!r} is said to be {type_name(number)}, its node makes {made}")
    problems.raise_if_any()


def find_unsupported(model: onnx.ModelProto) -> list[UnsupportedNode]:
    """Return every node that cannot be taken in, in graph order."""
    return _take_nodes(model).unsupported


def known_tensors(model: onnx.ModelProto) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Shape], dict[str, Kind]]:
    """Return what is known before a network runs: values that are stored or folded; shapes; kinds of elements."""
    taken = _take_nodes(model)
    return taken.constants, taken.shapes, taken.kinds


def take_node(
    proto: onnx.NodeProto, constants: Mapping[str, np.ndarray[Any, Any]], shapes: Mapping[str, Shape]
) -> list[Node]:
    """Return what stands for one node outside of any model, of the opset LONE_OPSET.

    Args:
        constants: the values of its inputs that are known.
        shapes: of the others, all fp32.

    Raises:
        NotTaken: it cannot be taken in.
    """
    taken = _Taken(dict(constants), dict(shapes), dict.fromkeys(shapes, "f32"), LONE_OPSET)
    _take(taken, proto)
    return taken.nodes


@dataclass
class _Taken:
    """What is known so far."""

    constants: dict[str, np.ndarray[Any, Any]]
    shapes: dict[str, Shape]
    kinds: dict[str, Kind]
    opset: int
    nodes: list[Node] = field(default_factory=list)
    unsupported: list[UnsupportedNode] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)
    """The map of one row, (N, C, 1, L), of every 1-D map that a convolution leads to."""

    def refuse(self, name: str, op: str, why: str) -> None:
        """Note what cannot be taken in."""
        self.unsupported.append(UnsupportedNode(name=name, op=op, why=why))


def _take_nodes(model: onnx.ModelProto) -> _Taken:
    """Walk the nodes; behind one that is not taken, ONNX's own shape inference says how large its outputs are."""
    inferred, types = known_shapes(model), _known_kinds(model)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
    taken = _Taken(constants_of(model), {}, {}, opset)
    for value in graph_inputs(model):
        kind = KINDS.get(value.type.tensor_type.elem_type)
        if kind is None:
            name = type_name(value.type.tensor_type.elem_type)
            taken.refuse(value.name, "input", f"it is {name}; FLOAT, INT32, INT64 and BOOL are supported")
        taken.shapes[value.name], taken.kinds[value.name] = inferred[value.name], kind or "f32"
    for proto in needed_nodes(model.graph.node, [value.name for value in model.graph.output]):
        if proto.op_type == "Constant" and proto.output[0] in taken.constants:
            continue
        try:
            with np.errstate(all="ignore"):  # what is not finite is said later, by the name of the weights
                _take(taken, proto)
        except (NotTaken, UserError, ValueError, MemoryError) as error:
            taken.refuse(node_name(proto), proto.op_type, str(error))
            for name in (name for name in proto.output if name in inferred):
                taken.shapes[name], taken.kinds[name] = inferred[name], types.get(name, "f32")
    _make_constant_outputs(taken, model)
    return taken


def _known_kinds(model: onnx.ModelProto) -> dict[str, Kind]:
    values = (*model.graph.value_info, *model.graph.output)
    found = {value.name: KINDS.get(value.type.tensor_type.elem_type) for value in values}
    return {name: kind for name, kind in found.items() if kind is not None}


def _make_constant_outputs(taken: _Taken, model: onnx.ModelProto) -> None:
    """Graph outputs that are constants are copied from where they are stored; other missing ones are refused."""
    made = {*taken.shapes}
    for value in model.graph.output:
        if value.name in taken.constants:
            node = OnnxNode.of(
                onnx.helper.make_node("Identity", [value.name], [value.name], name=f"output {value.name}"),
                taken.constants,
                taken.shapes,
                taken.kinds,
                taken.opset,
            )
            try:
                _keep(taken, node, [node.build.add(Elementwise(0), node.tensor())])
            except (NotTaken, UserError) as error:
                taken.refuse(value.name, "output", str(error))
        elif value.name not in made and not taken.unsupported:
            taken.refuse(value.name, "output", "it is a second output of its node that is not supported")


def _take(taken: _Taken, proto: onnx.NodeProto) -> None:
    """Add what stands for a node, or its value where that is known."""
    if proto.domain not in ("", "ai.onnx"):
        raise NotTaken(f"the operator is of the domain {proto.domain!r}, which is not supported")
    known = folded(proto, taken.constants, taken.shapes, taken.opset)
    if known is not None:
        taken.constants |= dict(zip((name for name in proto.output if name), known, strict=False))
        return
    if proto.op_type not in ONNX_OPS:
        raise NotTaken("the operator is not supported")
    node = OnnxNode.of(proto, taken.constants, taken.shapes, taken.kinds, taken.opset)
    unknown = [name for name in proto.input if name and name not in taken.constants and name not in taken.shapes]
    if unknown:
        raise NotTaken(f"the shape of its input {unknown[0]!r} is not known")
    if _take_on_one_row(taken, proto):
        return
    try:
        made = _fast(node)
    except NotTaken as why_not_fast:
        _keep(taken, node, _general(node, why_not_fast))
        return
    taken.nodes.append(made)
    taken.shapes[made.output] = output_shape(made, [taken.shapes[name] for name in made.inputs])
    taken.kinds[made.output] = "f32"


def _note_one_row(taken: _Taken, node: OnnxNode) -> None:
    """Note the map of one row that a 1-D convolution makes, where its result is that in another shape."""
    last_two = node.build.nodes[-2:]
    if [type(each.op) for each in last_two] == [Conv, Reshape] and len(node.shape()) == 3:
        taken.rows[node.proto.output[0]] = last_two[0].output


def _take_on_one_row(taken: _Taken, proto: onnx.NodeProto) -> bool:
    """Take a node on 1-D maps as one on maps of one row, with a view of its result as a 1-D map; return whether."""
    on_row = on_one_row(proto, taken.rows, taken.constants)
    if on_row is None:
        return False
    try:
        _take(taken, on_row)
    except NotTaken:
        return False
    made, output = on_row.output[0], proto.output[0]
    batch, channels, _, length = taken.shapes[made]
    taken.nodes.append(Node(f"{node_name(proto)}={output}", Reshape((batch, channels, length)), (made,), output))
    taken.shapes[output], taken.kinds[output] = (batch, channels, length), taken.kinds[made]
    taken.rows[output] = made
    return True


def _general(node: OnnxNode, why_not_fast: NotTaken) -> Sequence[str]:
    """Build the node by its general rule; where that fails too, both reasons are told."""
    kind = node.proto.op_type
    if kind not in GENERAL_RULES:
        raise why_not_fast
    try:
        return GENERAL_RULES[kind](node)
    except NotTaken as why:
        tells_both = kind not in FAST_RULES or str(why_not_fast) in str(why)
        raise NotTaken(str(why) if tells_both else f"{why_not_fast}; {why}") from None


def _fast(node: OnnxNode) -> Node:
    """Return the node as an op on maps or vectors.

    Raises:
        NotTaken: it is none.
    """
    proto, rule = node.proto, FAST_RULES.get(node.proto.op_type)
    if rule is None:
        raise NotTaken("it has no kernel of its own")
    computed = [name for name in proto.input if name and name not in node.constants]
    for name in computed:
        if len(node.shapes[name]) not in (2, 4) or node.kinds[name] != "f32":
            raise NotTaken(f"its input {name!r} is {node.kinds[name]} with {len(node.shapes[name])} axes")
    if len([name for name in proto.output if name]) > 1 and proto.op_type != "BatchNormalization":
        raise NotTaken("several outputs are asked for")
    op, read = rule(node)
    made = Node(node_name(proto), op, tuple(proto.input[i] for i in read), proto.output[0])
    why = misfit(made, [node.shapes[name] for name in made.inputs])
    if why is not None:
        raise NotTaken(why)
    return made


def _keep(taken: _Taken, node: OnnxNode, results: Sequence[str]) -> None:
    """Add what a rule has built; its results get the names that the model gives them."""
    wanted = [each for each in zip(results, node.proto.output, strict=False) if all(each)]
    built = {each.output for each in node.build.nodes}
    renamed = {result: name for result, name in reversed(wanted) if result in built}
    for each in node.build.nodes:
        inputs = tuple(renamed.get(name, name) for name in each.inputs)
        taken.nodes.append(replace(each, inputs=inputs, output=renamed.get(each.output, each.output)))
    for result, name in wanted:
        if renamed.get(result) != name:
            taken.nodes.append(
                Node(f"{node_name(node.proto)}={name}", Identity(), (renamed.get(result, result),), name)
            )
        taken.shapes[name], taken.kinds[name] = taken.shapes[result], taken.kinds[result]
    _note_one_row(taken, node)
