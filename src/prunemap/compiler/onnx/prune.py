"""One-shot pruning of an ONNX file by a plan: for who has no training code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from prunemap.compiler.finite import check_finite
from prunemap.compiler.graph.ir import Array, Shape
from prunemap.compiler.layers import ModelLayer, list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.filters import Choice, strongest_filters, zero_parameters
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.compiler.onnx.weights import rewrite_weights
from prunemap.compiler.zero_filters import Kept
from prunemap.core.files import check_writable
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value
from prunemap.errors import Problems, UnsupportedError, UserError
from prunemap.schemes import make_mask, why_illegal


class PrunedLayer(Value):
    """What a layer was pruned to."""

    name: str
    weight_shape: tuple[int, ...]
    scheme: SchemeSpec
    density: float
    """Kept / all weights, as reached."""
    energy: float
    """Sum of the squares of the kept weights / of all."""


def write_pruned(
    model_path: str | Path, plan: Plan, output_path: str | Path, shapes: Mapping[str, Shape] | None = None
) -> tuple[PrunedLayer, ...]:
    """Write the model with the weights that the plan prunes by magnitude set to zero; nothing else changes.

    With filters, what would keep their channels from being zero goes too: biases, scales and shifts of batch norms; and
    layers whose outputs are added lose the same ones.

    Args:
        shapes: sizes of inputs with symbolic dimensions; they stay symbolic in the output.

    Returns:
        The layers that the plan names, in graph order.

    Raises:
        UserError: the model cannot be read, it has weights that are infinite or NaN, the plan does not fit it, or the
            output cannot be written.
    """
    if Path(output_path).suffix != ".onnx":
        raise UserError(f"-o/--output: got {output_path}, allowed is a name that ends in .onnx")
    model = read_onnx(model_path, shapes)
    check_finite(model)
    layers = list_layers(model)
    entries = plan.resolve([layer.spec for layer in layers])
    chosen = [(layer, entry) for layer, entry in zip(layers, entries, strict=True) if entry is not None]
    problems = Problems("plan: it does not fit this model")
    for layer, entry in chosen:
        why = why_illegal(entry.scheme, layer.weight.shape, entry.density)
        if why is not None:
            problems.add(f"layer {layer.spec.name!r}: {why}")
    problems.raise_if_any()
    check_writable(output_path)
    pruned, done, by_place, single = dict[StoredWeight, Array](), [], dict[object, PrunedLayer](), []
    alive, vectors = _filters(model, [(layer, entry) for layer, entry in chosen if entry.scheme.name == "filter"])
    for layer, entry in chosen:
        place, name = layer.stored.place, layer.spec.name
        if place not in by_place:  # a shared weight is pruned once
            pruned[layer.stored], by_place[place] = _pruned(layer, entry, alive.get(name))
            single += [name] if by_place[place].density > 2 * entry.density else []
        done.append(by_place[place].model_copy(update={"name": name, "weight_shape": layer.spec.weight_shape}))
    if single:
        warnings.warn(
            f"at such a density layers would lose every weight; one group is kept of: {', '.join(single)}", stacklevel=2
        )
    rewrite_weights(model_path, pruned | vectors, output_path)
    return tuple(done)


def _pruned(layer: ModelLayer, entry: PlanLayer, filters: Kept | None) -> tuple[Array, PrunedLayer]:
    """Return the weight without what is pruned, and what that is.

    Args:
        filters: those that stay, where they are known already.
    """
    mask = make_mask(layer.weight, entry.scheme, entry.density) if filters is None else _whole(filters, layer.weight)
    kept = (layer.weight * mask).astype(np.float32)
    energies = [float(np.square(each, dtype=np.float64).sum()) for each in (kept, layer.weight)]
    return kept, PrunedLayer(
        name=layer.spec.name,
        weight_shape=layer.spec.weight_shape,
        scheme=entry.scheme,
        density=float(mask.mean()),
        energy=energies[0] / energies[1] if energies[1] else 1.0,
    )


def _filters(model: onnx.ModelProto, chosen: Sequence[Choice]) -> tuple[dict[str, Kept], dict[StoredWeight, Array]]:
    """Return which filters stay, by layer, and the vectors that change with them."""
    if not chosen:
        return {}, {}
    try:
        graph = import_graph(model)
    except UnsupportedError as error:
        warnings.warn(
            "every layer chooses its own filters, and biases stay, since the network cannot be taken in: "
            f"{str(error).splitlines()[1].strip()}",
            stacklevel=3,
        )
        return {}, {}
    alive = strongest_filters(graph, chosen)
    vectors = zero_parameters(model, graph, alive)
    return alive, {StoredWeight(tensor): vector for tensor, vector in vectors.items()}


def _whole(filters: Kept, weight: Array) -> Kept:
    return np.broadcast_to(filters.reshape(-1, *(1,) * (weight.ndim - 1)), weight.shape)
