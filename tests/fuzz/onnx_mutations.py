"""Mutations of ONNX models: of their structure, and of their bytes. A table; each is a small function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

Rng = np.random.Generator
T = TypeVar("T")
SIZES = (-(2**63), -(2**31) - 1, -1000, -2, -1, 0, 1, 2, 3, 7, 1000, 2**16, 2**31 - 1, 2**31, 2**33, 2**62, 2**63 - 1)
NUMBERS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, -1.0, 1e-45, 3e38, 1e300, 0.5)
TEXTS = (
    "",
    "x",
    "SAME_UPPER",
    "linear",
    "cubic",
    "constant",
    "../up",
    "/absolute",
    "a\0b",
    "*/ int x; /*",
    "ü",
    "n" * 300,
)
OPS = tuple(sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}))


def pick(rng: Rng, items: Sequence[T]) -> T:
    """Return one of the items."""
    return items[int(rng.integers(len(items)))]


def _tensors(model: onnx.ModelProto) -> list[str]:
    names = [value.name for value in model.graph.input] + [tensor.name for tensor in model.graph.initializer]
    return [*names, *(name for node in model.graph.node for name in node.output), "", "nowhere"]


def _attributes(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, AttributeProto]]:
    return [(node, attribute) for node in model.graph.node for attribute in node.attribute]


def _values(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.output, *model.graph.value_info]


def drop_node(model: onnx.ModelProto, rng: Rng) -> None:
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def repeat_node(model: onnx.ModelProto, rng: Rng) -> None:
    copy = model.graph.node.add()
    copy.CopyFrom(pick(rng, model.graph.node[:-1]))
    if rng.random() < 0.7:
        copy.name += "_again"
        for i in range(len(copy.output)):
            copy.output[i] += "_again"


def swap_nodes(model: onnx.ModelProto, rng: Rng) -> None:
    a, b = pick(rng, model.graph.node), pick(rng, model.graph.node)
    kept = onnx.NodeProto()
    kept.CopyFrom(a)
    a.CopyFrom(b)
    b.CopyFrom(kept)


def rewire(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, [node for node in model.graph.node if node.input])
    node.input[int(rng.integers(len(node.input)))] = pick(rng, _tensors(model))


def drop_or_add_input(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    if node.input and rng.random() < 0.5:
        del node.input[int(rng.integers(len(node.input)))]
    else:
        node.input.append(pick(rng, _tensors(model)))


def change_output(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    how = rng.random()
    if node.output and how < 0.4:
        node.output[int(rng.integers(len(node.output)))] = pick(rng, _tensors(model))
    elif node.output and how < 0.6:
        del node.output[-1]
    else:
        node.output.append(pick(rng, ("", "extra")))


def change_operator(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    if rng.random() < 0.8:
        node.op_type = pick(rng, OPS)
    else:
        node.domain = pick(rng, ("", "ai.onnx", "com.microsoft", "local", *TEXTS))


def rename_node(model: onnx.ModelProto, rng: Rng) -> None:
    pick(rng, model.graph.node).name = pick(rng, (*TEXTS, *(node.name for node in model.graph.node)))


def drop_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    node = pick(rng, [node for node in model.graph.node if node.attribute])
    del node.attribute[int(rng.integers(len(node.attribute)))]


def change_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    """Another value of the same type."""
    _, attribute = pick(rng, _attributes(model))
    if attribute.type == AttributeProto.INT:
        attribute.i = pick(rng, SIZES)
    elif attribute.type == AttributeProto.INTS:
        _change_list(attribute.ints, SIZES, rng)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = np.float32(np.clip(pick(rng, NUMBERS), -3e38, 3e38))
    elif attribute.type == AttributeProto.STRING:
        attribute.s = pick(rng, (*(text.encode() for text in TEXTS), b"\xff\xfe"))
    elif attribute.type == AttributeProto.TENSOR:
        _change_tensor(attribute.t, rng)
    else:
        attribute.name = pick(rng, TEXTS)


def retype_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    """A value of another type, or a type that does not fit the value."""
    node, attribute = pick(rng, _attributes(model))
    name = attribute.name
    if rng.random() < 0.3:
        attribute.type = pick(rng, AttributeProto.AttributeType.values())
        return
    value: Any = pick(rng, (pick(rng, SIZES), 0.5, "text", [1, 2], [0.5], [1, 2, 3, 4, 5], ["a"]))
    node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(name, value))


def add_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    """An attribute that other nodes have, or one that no operator has."""
    names = [attribute.name for _, attribute in _attributes(model)]
    value: Any = pick(rng, (pick(rng, SIZES), 0.5, "text", [1, 1, 1, 1], [2, 2]))
    pick(rng, model.graph.node).attribute.append(helper.make_attribute(pick(rng, [*names, "axis", "odd"]), value))


def change_shape(model: onnx.ModelProto, rng: Rng) -> None:
    tensor = pick(rng, _values(model)).type.tensor_type
    how = rng.random()
    if how < 0.1:
        tensor.ClearField("shape")
    elif how < 0.25 or not tensor.shape.dim:
        tensor.shape.dim.add().dim_value = pick(rng, SIZES)
    elif how < 0.4:
        del tensor.shape.dim[-1]
    elif how < 0.5:
        pick(rng, tensor.shape.dim).dim_param = pick(rng, ("N", ""))
    else:
        pick(rng, tensor.shape.dim).dim_value = pick(rng, SIZES)


def change_type(model: onnx.ModelProto, rng: Rng) -> None:
    value = pick(rng, _values(model))
    if rng.random() < 0.85:
        value.type.tensor_type.elem_type = int(rng.integers(26))
    elif rng.random() < 0.5:
        value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    else:
        value.ClearField("type")


def change_ends(model: onnx.ModelProto, rng: Rng) -> None:
    """Inputs and outputs dropped, repeated, renamed."""
    ends = pick(rng, (model.graph.input, model.graph.output))
    how = rng.random()
    if how < 0.3 and ends:
        del ends[int(rng.integers(len(ends)))]
    elif how < 0.5 and ends:
        ends.add().CopyFrom(ends[0])
    elif how < 0.8 and ends:
        pick(rng, ends).name = pick(rng, _tensors(model))
    else:
        ends.append(helper.make_tensor_value_info(pick(rng, _tensors(model)), TensorProto.FLOAT, [1, 2]))


def add_value_info(model: onnx.ModelProto, rng: Rng) -> None:
    """A claim about a tensor inside that may be wrong."""
    shape = [int(pick(rng, SIZES)) for _ in range(int(rng.integers(5)))]
    kind = pick(rng, (TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE, TensorProto.BOOL))
    model.graph.value_info.append(helper.make_tensor_value_info(pick(rng, _tensors(model)), kind, shape))


def change_initializer(model: onnx.ModelProto, rng: Rng) -> None:
    _change_tensor(pick(rng, model.graph.initializer), rng)


def fill_initializer(model: onnx.ModelProto, rng: Rng) -> None:
    """Values that are legal and odd: NaN, infinite, zero, out of every range."""
    tensor = pick(rng, model.graph.initializer)
    value = onnx.numpy_helper.to_array(tensor).copy()
    numbers = NUMBERS if value.dtype.kind == "f" else SIZES
    with np.errstate(all="ignore"):
        odd = (
            np.array(pick(rng, numbers), object).astype(value.dtype) if value.dtype.kind in "fi" else value.dtype.type()
        )
    if value.ndim and rng.random() < 0.6 and value.size:
        value.flat[int(rng.integers(value.size))] = odd
    else:
        value[...] = odd
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))


def move_initializer(model: onnx.ModelProto, rng: Rng) -> None:
    """Dropped, repeated, renamed, or an input too."""
    how, weights = rng.random(), model.graph.initializer
    if how < 0.3:
        del weights[int(rng.integers(len(weights)))]
    elif how < 0.6:
        weights.add().CopyFrom(pick(rng, weights[:-1]))
    elif how < 0.8:
        pick(rng, weights).name = pick(rng, _tensors(model))
    else:
        tensor = pick(rng, weights)
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def point_outside(model: onnx.ModelProto, rng: Rng) -> None:
    """Weights that say that they lie in another file."""
    tensor = pick(rng, model.graph.initializer)
    tensor.data_location = pick(rng, (TensorProto.EXTERNAL, TensorProto.EXTERNAL, TensorProto.DEFAULT))
    known = {"location": pick(rng, ("weights.data", "m.onnx", ".", "../m.onnx", "/etc/passwd", *TEXTS))}
    for key in ("offset", "length"):
        if rng.random() < 0.5:
            known[key] = pick(rng, (*map(str, SIZES), "", "x", "1.5"))
    tensor.ClearField("external_data")
    for key, text in known.items():
        tensor.external_data.add(key=key, value=text)


def change_versions(model: onnx.ModelProto, rng: Rng) -> None:
    how = rng.random()
    if how < 0.6 and model.opset_import:
        pick(rng, model.opset_import).version = pick(rng, (*range(30), *SIZES))
    elif how < 0.7:
        model.ClearField("opset_import")
    elif how < 0.8:
        model.opset_import.add(domain=pick(rng, ("", "ai.onnx", "local")), version=int(rng.integers(25)))
    else:
        model.ir_version = pick(rng, (*range(15), *SIZES))


def change_function(model: onnx.ModelProto, rng: Rng) -> None:
    """A local function that calls itself, or stands for an operator."""
    name, domain = pick(rng, (("Twice", "local"), ("Relu", ""), ("Conv", "")))
    body = [helper.make_node(pick(rng, (name, "Add")), ["a", "a"], ["b"], domain=pick(rng, (domain, "")))]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    model.functions.append(helper.make_function(domain, name, ["a"], ["b"], body, opsets))
    if rng.random() < 0.7:
        model.opset_import.append(helper.make_opsetid("local", 1))
    node = pick(rng, model.graph.node)
    node.domain, node.op_type = domain, name


def wrap_deeply(model: onnx.ModelProto, rng: Rng) -> None:
    """Graphs in graphs in graphs, as attributes."""
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "inner", [], [])
    for depth in range(int(rng.integers(1, 28))):
        node = helper.make_node("If", ["x"], [f"y{depth}"], then_branch=graph, else_branch=graph if depth < 3 else None)
        graph = helper.make_graph([node], "inner", [], [])
    pick(rng, model.graph.node).attribute.append(helper.make_attribute("then_branch", graph))


def change_sparse(model: onnx.ModelProto, rng: Rng) -> None:
    """Sparse weights that do not fit."""
    for sparse in model.graph.sparse_initializer:
        _change_tensor(pick(rng, (sparse.values, sparse.indices)), rng)
        if rng.random() < 0.5:
            _change_list(sparse.dims, SIZES, rng)
        return
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(pick(rng, model.graph.initializer))
    sparse.dims.extend(int(pick(rng, SIZES)) for _ in range(2))


def _change_tensor(tensor: TensorProto, rng: Rng) -> None:
    how = rng.random()
    if how < 0.4:
        _change_list(tensor.dims, SIZES, rng)
    elif how < 0.6:
        tensor.data_type = int(rng.integers(26))
    elif how < 0.8:
        size = len(tensor.raw_data)
        tensor.raw_data = pick(rng, (b"", tensor.raw_data[: size // 2], tensor.raw_data + b"x" * 7, b"\xff" * size))
    elif how < 0.9:
        tensor.float_data.extend([1.0] * int(rng.integers(9)))
    else:
        tensor.ClearField("raw_data")


def _change_list(values: Any, allowed: Sequence[int], rng: Rng) -> None:
    how = rng.random()
    if how < 0.2 or not values:
        values.append(pick(rng, allowed))
    elif how < 0.35:
        del values[-1]
    else:
        values[int(rng.integers(len(values)))] = pick(rng, allowed)


Mutation = Callable[[onnx.ModelProto, Rng], None]
STRUCTURE: tuple[Mutation, ...] = (
    drop_node,
    repeat_node,
    swap_nodes,
    rewire,
    drop_or_add_input,
    change_output,
    change_operator,
    rename_node,
    drop_attribute,
    change_attribute,
    change_attribute,
    retype_attribute,
    add_attribute,
    change_shape,
    change_type,
    change_ends,
    add_value_info,
    change_initializer,
    fill_initializer,
    fill_initializer,
    move_initializer,
    point_outside,
    change_versions,
    change_function,
    wrap_deeply,
    change_sparse,
)


def change_bytes(data: bytes, rng: Rng) -> bytes:
    """Return the bytes with some flipped, cut out, put in, repeated, or cut off."""
    changed = bytearray(data)
    for _ in range(int(rng.geometric(0.4))):
        at = int(rng.integers(len(changed) + 1))
        length = min(int(rng.geometric(0.1)), 64)
        how = int(rng.integers(6))
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << int(rng.integers(8))
        elif how == 1:
            changed[at : at + length] = rng.bytes(length)
        elif how == 2:
            del changed[at : at + length]
        elif how == 3:
            changed[at:at] = changed[at : at + length]
        elif how == 4:
            changed[at : at + length] = pick(rng, (b"\xff", b"\0", b"\x7f")) * length
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def change_structure(model: onnx.ModelProto, rng: Rng) -> list[str]:
    """Change a model by one mutation or more; return their names. What a mutation needs and has not is passed over."""
    done: list[str] = []
    for _ in range(min(int(rng.geometric(0.8)), 5)):
        mutation = pick(rng, STRUCTURE)
        try:
            mutation(model, rng)
        except Exception:
            continue
        done.append(mutation.__name__)
    return done
