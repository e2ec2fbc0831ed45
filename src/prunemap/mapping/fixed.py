"""The layers that stay dense whatever the device."""

from __future__ import annotations

from collections.abc import Sequence

from prunemap.compiler import ModelLayer
from prunemap.core.layer import GATES, LayerSpec
from prunemap.core.layer_pattern import matching_layers
from prunemap.errors import Problems


def why_fixed(layers: Sequence[ModelLayer], ignore: Sequence[str] = ()) -> dict[str, str]:
    """Return, by name, why a layer stays dense: few MACs and sensitive, not measured, or to be ignored.

    Args:
        ignore: patterns of layers, see :func:`prunemap.core.layer_pattern.matching_layers`.

    Raises:
        UserError: a pattern matches no layer; all such are listed.
    """
    first = next((layer for layer in layers if layer.spec.kind == "conv"), None)
    classifiers = [layer for layer in layers[-1:] if layer.spec.kind not in GATES]
    fixed = _ignored([layer.spec for layer in layers], ignore)
    for layer in layers:
        kind, sensitive = layer.spec.kind, "few MACs and sensitive"
        if layer is first:
            fixed[layer.spec.name] = f"first convolution: {sensitive}"
        elif layer in classifiers:
            fixed[layer.spec.name] = f"last layer: {sensitive}"
        elif kind == "depthwise":
            fixed[layer.spec.name] = f"depthwise: {sensitive}"
        elif layer.spec.setting is None:
            fixed[layer.spec.name] = "the sizes of its tensors are not known, so its latency is not"
    return fixed


def _ignored(layers: Sequence[LayerSpec], patterns: Sequence[str]) -> dict[str, str]:
    problems, ignored = Problems("layers to leave dense"), dict[str, str]()
    for pattern in patterns:
        matched = matching_layers(pattern, layers, "ignore", problems)
        ignored |= {layer.name: f"to be ignored: {pattern}" for layer in matched}
    problems.raise_if_any()
    return ignored
