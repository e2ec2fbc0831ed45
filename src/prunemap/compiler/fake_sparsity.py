"""Fake sparsity: a dense model pruned by magnitude without any training, to see what pruning would pay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunemap.compiler.finite import check_finite
from prunemap.compiler.graph.ir import Array, Shape
from prunemap.compiler.layers import ModelLayer, list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.compiler.onnx.weights import rewrite_weights
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import Value
from prunemap.errors import UserError
from prunemap.schemes import Mask, make_mask, why_illegal

INSTEAD = {"block": "punched", "pattern": "unstructured"}
"""What a layer gets that the scheme is not made for."""


class FakedLayer(Value):
    """What a layer was pruned to."""

    name: str
    scheme: SchemeSpec
    density: float
    """Kept / all weights, as reached."""
    reason: str = ""
    """Why it is not the scheme asked for."""


def parse_sparsity(text: str) -> tuple[SchemeSpec, float]:
    """Parse SCHEME@DENSITY, such as ``punched:8x4@0.1``.

    Raises:
        UserError: it is not that, or no layer can have the scheme at that density.
    """
    name, at, density = text.partition("@")
    try:
        parsed = SchemeSpec.parse(name), float(density)
    except (UserError, ValueError):
        parsed = None
    if not at or parsed is None:
        raise UserError(f"--sparsity: got {text!r}, allowed is SCHEME@DENSITY, such as punched:8x4@0.1")
    _check(*parsed)
    return parsed


def _check(spec: SchemeSpec, density: float) -> None:
    """Raise UserError if neither a 3x3 convolution nor a linear layer can have the scheme."""
    whys = [why_illegal(spec, shape, density) for shape in ((8, 8, 3, 3), (8, 8))]
    if spec == DENSE:
        raise UserError("--sparsity: dense prunes nothing, allowed is SCHEME@DENSITY, such as punched:8x4@0.1")
    if all(whys):
        raise UserError(f"--sparsity: {whys[0]}")


def with_fake_sparsity(
    model_path: str | Path,
    spec: SchemeSpec,
    density: float,
    output_path: str | Path,
    shapes: Mapping[str, Shape] | None = None,
) -> tuple[FakedLayer, ...]:
    """Write the model with the weights of its layers pruned by magnitude; nothing else changes.

    What is kept of a layer is scaled so that the activations keep their size. Every layer but the first convolution and
    but depthwise ones is pruned.

    Args:
        output_path: an ONNX file; weights of more than 2 GiB go to a file ``.data`` beside it.
        shapes: sizes of inputs with symbolic dimensions; they stay symbolic in the output.

    Returns:
        What became of every layer, in graph order.

    Raises:
        UserError: the model cannot be read, it has weights that are infinite or NaN, the scheme cannot be had by any
            layer, or the output not be written.
    """
    _check(spec, density)
    model = read_onnx(model_path, shapes)
    check_finite(model)
    layers = list_layers(model)
    first = next((layer.spec.name for layer in layers if layer.spec.kind == "conv"), None)
    faked, pruned, by_place = [], dict[StoredWeight, Array](), dict[object, FakedLayer]()
    for layer in layers:
        place, name = layer.stored.place, layer.spec.name
        if place not in by_place:  # a shared weight is pruned once
            scheme, reason = _scheme_for(layer, spec, density, is_first=name == first)
            mask = make_mask(layer.weight, scheme, density) if scheme != DENSE else np.ones(layer.weight.shape, bool)
            if scheme != DENSE:
                pruned[layer.stored] = _scaled(layer.weight, mask)
            by_place[place] = FakedLayer(name=name, scheme=scheme, density=float(mask.mean()), reason=reason)
        faked.append(by_place[place].model_copy(update={"name": name}))
    rewrite_weights(model_path, pruned, output_path)
    return tuple(faked)


def _scheme_for(layer: ModelLayer, spec: SchemeSpec, density: float, is_first: bool) -> tuple[SchemeSpec, str]:
    """Return what a layer is pruned to, and why if it is not ``spec``."""
    kind = layer.spec.kind
    if is_first:
        return DENSE, "the first convolution stays dense"
    if kind == "depthwise":
        return DENSE, "depthwise layers stay dense"
    if kind == "linear" and layer.weight.ndim != 2:
        return DENSE, "its weight is not a matrix"
    why = why_illegal(spec, layer.weight.shape, density)
    if why is None:
        return spec, ""
    return SchemeSpec(INSTEAD[spec.name], spec.block), why


def _scaled(weight: Array, mask: Mask) -> Array:
    """Prune a weight; what is kept is scaled to the energy of all.

    Else the activations of a deep network would shrink from layer to layer, to nothing or to denormals: any output
    would pass for right, and engines that do not flush them would be slowed down.
    """
    kept = weight * mask
    energy, energy_kept = (float(np.square(each, dtype=np.float64).sum()) for each in (weight, kept))
    return (kept * ((energy / energy_kept) ** 0.5 if energy_kept else 1.0)).astype(np.float32)
