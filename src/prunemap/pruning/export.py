"""ONNX export that keeps the zeros in place and tells which torch module every layer is.

The exporter's own optimiser is left off: it folds batch norm into the weights, so that the file would no longer hold
the masked weights. Only constants are folded; the compiler folds batch norm itself.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator
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

from prunemap.compiler.onnx_file import MAX_FILE_BYTES, MODULE_KEY
from prunemap.core.files import replacing
from prunemap.errors import InternalError, UnsupportedError, UserError
from prunemap.pruning.layers import Prunable, evaluation_mode, list_layers, prunable_modules

OPSET = 20
WEIGHT_OPS = frozenset({"Conv", "Gemm", "MatMul"})
SCOPES_KEY = "pkg.torch.onnx.name_scopes"
UNLIMITED = 2**40


def export_onnx(module: nn.Module, example_input: Tensor, path: str | Path, *, symbolic_batch: bool = False) -> None:
    """Write ``module`` in evaluation mode as ONNX, whole or not at all.

    Every node with the weight of a convolution or linear layer is named as its module and has its qualified name in
    ``metadata_props["prunemap.module"]``. The input is called ``input``, the output ``output``.

    Args:
        example_input: an input with its batch axis first, such as (1, C, H, W).
        symbolic_batch: leave the batch open (``N``) instead of fixing it to 1.

    Raises:
        UserError: torch cannot export the module, or the file cannot be written.
        InternalError: the weight of a layer changed on the way.
    """
    with evaluation_mode(module), _quiet():
        model = _to_onnx(module, example_input, symbolic_batch)
    _identify_layers(model, module)
    _check_complete(model, [layer.module for layer in list_layers(module, example_input)])
    size_bytes = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    beside = f"{Path(path).name}.data" if size_bytes > MAX_FILE_BYTES else None
    with replacing(path) as temporary:
        ir.save(model, temporary, external_data=beside)


def _to_onnx(module: nn.Module, example_input: Tensor, symbolic_batch: bool) -> ir.Model:
    """Return the graph with folded constants.

    A batch of 1 would be taken as a constant by torch.export, so an open batch is traced with 2.
    """
    batch = example_input[:1]
    try:
        program = torch.onnx.export(
            module,
            (torch.cat([batch, batch]) if symbolic_batch else batch,),
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("N")},) if symbolic_batch else None,
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
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


def _identify_layers(model: ir.Model, module: nn.Module) -> None:
    """Name every node by its module, mark those that carry a layer's weight, and drop the exporter's notes (paths).

    Raises:
        InternalError: a node does not have the weight of its module.
    """
    modules, layers = dict(module.named_modules()), prunable_modules(module)
    used: set[str] = set()
    for node in model.graph:
        scopes: list[str] = ast.literal_eval(node.metadata_props.get(SCOPES_KEY, "[]"))
        scope = ["", "", *scopes][-2]
        name = f"{scope}/{node.op_type}" if scope and scope in modules else node.op_type
        node.metadata_props.clear()
        weight = node.inputs[1] if node.op_type in WEIGHT_OPS else None
        if scope in layers and weight is not None and weight.const_value is not None:
            node.metadata_props[MODULE_KEY] = scope
            name = scope or name
            _check_weight(scope, weight.const_value.numpy(), layers[scope])
        node.name = next(n for n in chain([name], (f"{name}_{i}" for i in count(2))) if n not in used)
        used.add(node.name)


def _check_weight(name: str, exported: NDArray[Any], layer: Prunable) -> None:
    weight = layer.weight.detach().cpu().numpy()
    if not np.array_equal(exported, weight) and not np.array_equal(exported.T, weight):
        raise InternalError(f"export changed the weight of layer {name!r}")


def _check_complete(model: ir.Model, names: list[str]) -> None:
    """Raise UnsupportedError for a layer that the graph does not have as one node with a constant weight."""
    lost = set(names) - {node.metadata_props.get(MODULE_KEY) for node in model.graph}
    if lost:
        raise UnsupportedError(
            f"export: layers without a node of their own with a constant weight: {', '.join(sorted(lost))}; "
            "remove parametrizations (such as weight norm) from them first"
        )


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
