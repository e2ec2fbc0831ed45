"""ONNX export that keeps the zeros in place and tells which torch module every layer is, and the same for any network.

The exporter's own optimiser is left off: it folds batch norm into the weights, so that the file would no longer hold
the masked weights. Only constants are folded; the compiler folds batch norm itself.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxscript import ir, optimizer
from torch import Tensor, nn
from torch.export import ExportedProgram

from prunemap.compiler.onnx.file import MAX_FILE_BYTES, MODULE_KEY
from prunemap.core.files import existing_file, replacing
from prunemap.errors import InternalError, UnsupportedError, UserError
from prunemap.pruning.layers import Examples, call_arguments, evaluation_mode, list_layers
from prunemap.pruning.training.checkpoint import load_checkpoint
from prunemap.pruning.weights import prunable_weights

OPSET = 20
WEIGHT_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
GATE_ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Where ONNX's gates, i o f c and z r h, stand among torch's, i f g o and r z n."""
SCOPES_KEY = "pkg.torch.onnx.name_scopes"
UNLIMITED = 2**40

TorchModel = nn.Module | ExportedProgram
"""A module, or what ``torch.export.export`` has made of one."""


def export_onnx(module: nn.Module, example_input: Examples, path: str | Path, *, symbolic_batch: bool = False) -> None:
    """Write ``module`` in evaluation mode as ONNX, whole or not at all.

    Every node with the weight of a convolution or linear layer is named as its module and has its qualified name in
    ``metadata_props["prunemap.module"]``. Of one tensor the input is called ``input``, the output ``output``.

    Args:
        example_input: an input with its batch axis first, such as (1, C, H, W); or the arguments of ``forward``, in
            order or by name, for a file of their sizes.
        symbolic_batch: leave the batch of one input open (``N``) instead of fixing it to 1.

    Raises:
        UserError: torch cannot export the module, the batch of several inputs is to be open, or the file cannot be
            written.
        InternalError: the weight of a layer changed on the way.
    """
    if not isinstance(example_input, Tensor):
        if symbolic_batch:
            raise UserError("symbolic_batch: got several inputs, allowed is one tensor")
        convert_module(module, example_input, path)
        return
    batch = example_input[:1]  # which torch.export would take as a constant, so an open batch is traced with 2
    with evaluation_mode(module), _quiet():
        model = _to_onnx(
            module,
            (torch.cat([batch, batch]) if symbolic_batch else batch,),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("N")},) if symbolic_batch else None,
        )
    weights = {name: weight.parameter for name, weight in prunable_weights(module).items()}
    modules = dict(module.named_modules())
    changed = _identify_layers(model, modules, weights)
    if changed:
        raise InternalError(f"export changed the weight of layer {changed[0]!r}")
    _check_complete(model, [layer.module for layer in list_layers(module, example_input) if layer.module in modules])
    _save(model, path)


def export_checkpoint(checkpoint: str | Path, path: str | Path) -> Path:
    """Write the network of a checkpoint as ONNX, for one image, and return the path.

    Raises:
        UserError: see :func:`prunemap.pruning.load_checkpoint` and :func:`export_onnx`.
    """
    module, info = load_checkpoint(checkpoint)
    export_onnx(module, torch.zeros(1, *info.input_shape), path)
    return Path(path)


def convert_module(module: TorchModel, example_inputs: Examples | None, path: str | Path) -> None:
    """Write any network as ONNX, to be compiled: at the sizes of the examples, layers named where they can be.

    A single input is called ``input`` and a single output ``output``; several have the names that torch gives them:
    those of the arguments of ``forward``.

    Args:
        module: a module, which is exported in evaluation mode, or what ``torch.export.export`` has made of one.
        example_inputs: None for an exported program, which knows its own.

    Raises:
        UserError: torch cannot export it, it was exported in training mode, or the file cannot be written.
    """
    if isinstance(module, ExportedProgram):
        _check_evaluates(module)
        with _quiet():
            model = _to_onnx(module, ())
    elif not isinstance(module, nn.Module):
        raise UserError(f"model: got {type(module).__name__}, allowed are a path, a torch module, an ExportedProgram")
    elif example_inputs is None:
        raise UserError("example_inputs: a torch module needs one: a tensor, or the arguments of its forward")
    else:
        with evaluation_mode(module), _quiet():
            examples, named = call_arguments(module, example_inputs)
            model = _to_onnx(module, examples, kwargs=named)
    state = module.state_dict if isinstance(module, ExportedProgram) else module.state_dict()
    held = (name for name in state if name.endswith("weight") or ".weight_ih" in f".{name}")
    weights = {name.removesuffix(".weight"): state[name] for name in held}
    _identify_layers(model, _modules_of(state), weights)
    _name_ends(model)
    _save(model, path)


def as_tensors(arrays: Iterable[NDArray[Any]]) -> tuple[Tensor, ...]:
    """Return arrays as example inputs."""
    return tuple(map(torch.from_numpy, arrays))


def convert_exported(source: str | Path, path: str | Path) -> None:
    """Write the network of a file of ``torch.export.save`` (``.pt2``) as ONNX; see :func:`convert_module`.

    Raises:
        UserError: the file cannot be read by the torch that is installed, or as for a module.
    """
    file = existing_file(source, "model")
    try:
        with _quiet():
            program = torch.export.load(file)
    except Exception as error:  # of many kinds, by what the file holds
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"model: {source} is not a file of torch.export.save that torch {torch.__version__} reads ({reason[:160]})"
        ) from None
    convert_module(program, None, path)


def _to_onnx(module: TorchModel, examples: tuple[Any, ...], **options: Any) -> ir.Model:
    """Return the graph with folded constants."""
    try:
        program = torch.onnx.export(
            module, examples, opset_version=OPSET, dynamo=True, optimize=False, verbose=False, **options
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"export: torch cannot export {type(module).__name__}: {reason}") from error
    if program is None:
        raise InternalError("torch.onnx.export returned nothing")
    model: ir.Model = program.model
    optimizer.fold_constants(model, input_size_limit=UNLIMITED, output_size_limit=UNLIMITED)
    optimizer.remove_unused_nodes(model)
    return model


def _identify_layers(model: ir.Model, modules: Container[str], weights: Mapping[str, Tensor]) -> list[str]:
    """Name every node by its module, mark those that carry a layer's weight, and drop the exporter's notes (paths).

    Args:
        modules: qualified names.
        weights: by the qualified name of the layer, or of the parameter where a layer has several.

    Returns:
        The layers whose weight in the graph is another one: they are not marked.
    """
    used: set[str] = set()
    changed = []
    for node in model.graph:
        scopes: list[str] = ast.literal_eval(node.metadata_props.get(SCOPES_KEY, "[]"))
        scope = ["", "", *scopes][-2]
        name = f"{scope}/{node.op_type}" if scope and scope in modules else node.op_type
        node.metadata_props.clear()
        weight = node.inputs[1] if node.op_type in WEIGHT_OPS else None
        if weight is not None and weight.const_value is not None:
            owned = {scope} & weights.keys() or {one for one in weights if one.rpartition(".")[0] == scope}
            found = next((one for one in owned if _is_same(weight.const_value.numpy(), weights[one])), None)
            if found is not None:
                node.metadata_props[MODULE_KEY] = name = found
            elif scope in weights:
                changed.append(scope)
        if node.op_type in GATE_ORDERS:
            owned = {one for one in weights if one.rpartition(".")[0] == scope and "weight_ih" in one}
            node.metadata_props.update(_recurrent_mark(node, {one: weights[one] for one in sorted(owned)}))
        node.name = next(n for n in chain([name], (f"{name}_{i}" for i in count(2))) if n not in used)
        used.add(node.name)
    return changed


def _recurrent_mark(node: ir.Node, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the mark of an LSTM or GRU node: its weight on the inputs in the first direction."""
    weight = node.inputs[1]
    if weight is None or weight.const_value is None:
        return {}
    exported, order = weight.const_value.numpy()[0], GATE_ORDERS[node.op_type]
    for name, given in weights.items():
        gates = np.split(given.detach().cpu().numpy(), len(order))
        if np.array_equal(exported, np.concatenate([gates[gate] for gate in order])):
            return {MODULE_KEY: name}
    return {}


def _modules_of(state: Mapping[str, Tensor]) -> set[str]:
    """Return the qualified names of the modules that own something, and of those around them."""
    return {".".join(parts[:i]) for parts in (name.split(".") for name in state) for i in range(1, len(parts))}


def _is_same(exported: NDArray[Any], weight: Tensor) -> bool:
    values = weight.detach().cpu().numpy()
    return np.array_equal(exported, values) or np.array_equal(exported.T, values)


def _name_ends(model: ir.Model) -> None:
    """Call a single input ``input``, a single output ``output``, where nothing else is called so."""
    graph = model.graph
    taken = {value.name for node in graph for value in node.outputs} | {value.name for value in graph.inputs}
    for values, name in ((graph.inputs, "input"), (graph.outputs, "output")):
        if len(values) == 1 and name not in taken | set(graph.initializers):
            values[0].name = name


def _check_evaluates(program: ExportedProgram) -> None:
    """Raise UserError for a program that was exported in training mode: its batch norm and dropout still train."""
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for argument, value in zip(schema.arguments if schema else (), node.args, strict=False):
            if argument.name in ("train", "training") and value is True:
                raise UserError(
                    f"model: it was exported in training mode ({node.target} trains); "
                    "call module.eval() before torch.export.export"
                )


def _check_complete(model: ir.Model, names: list[str]) -> None:
    """Raise UnsupportedError for a layer that the graph does not have as one node with a constant weight."""
    lost = set(names) - {node.metadata_props.get(MODULE_KEY) for node in model.graph}
    if lost:
        raise UnsupportedError(
            f"export: layers without a node of their own with a constant weight: {', '.join(sorted(lost))}; "
            "remove parametrizations (such as weight norm) from them first"
        )


def _save(model: ir.Model, path: str | Path) -> None:
    """Write the model whole or not at all; weights of more than 2 GiB go to a file ``.data`` beside it."""
    size_bytes = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    beside = f"{Path(path).name}.data" if size_bytes > MAX_FILE_BYTES else None
    with replacing(path) as temporary:
        ir.save(model, temporary, external_data=beside)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings and dumps, which concern its own workings, from the user's terminal."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
