"""Weights of an ONNX file replaced, the rest of it untouched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import numpy_helper

from prunemap.compiler.graph.ir import Array
from prunemap.compiler.onnx.file import MAX_FILE_BYTES
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.core.files import replacing


def rewrite_weights(model_path: str | Path, weights: Mapping[StoredWeight, Array], output_path: str | Path) -> None:
    """Write the model with other weights, whole or not at all.

    Args:
        weights: of layers, in the shapes of :class:`prunemap.compiler.layers.ModelLayer`.
        output_path: an ONNX file; weights of more than 2 GiB go to a file ``.data`` beside it.

    Raises:
        UserError: the output cannot be written.
    """
    model = onnx.load(str(model_path), "protobuf")
    tensors = dict(_weight_tensors(model))
    for stored, weight in weights.items():
        tensor = tensors[stored.tensor]
        whole = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(stored.write(whole, weight), tensor.name))
    _save(model, Path(output_path))


def _weight_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield the constants that can be replaced, by tensor name."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            yield node.output[0], node.attribute[0].t


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model whole or not at all."""
    size_bytes = sum(len(tensor.raw_data) for _, tensor in _weight_tensors(model))
    if size_bytes <= MAX_FILE_BYTES:
        with replacing(path) as temporary:
            onnx.save(model, str(temporary))
        return
    beside = f"{path.name}.data"
    with (
        replacing(path) as temporary,
        replacing(path.with_name(beside)) as data,
        TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
    ):
        made = Path(folder) / path.name
        onnx.save(model, str(made), save_as_external_data=True, location=beside)
        made.replace(temporary)
        made.with_name(beside).replace(data)
