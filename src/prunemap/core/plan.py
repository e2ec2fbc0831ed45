"""Plan: per layer the scheme, the density and the reason (plan.json, version 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from prunemap.core.layer import LayerKind, LayerSpec
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value
from prunemap.errors import Problems


class PlanLayer(Value):
    """The choice for one layer. ``name`` is the ONNX node name, ``module`` the torch qualified name ("" if unknown)."""

    name: str
    module: str = ""
    kind: LayerKind
    weight_shape: tuple[int, ...]
    scheme: SchemeSpec
    density: float = Field(gt=0, le=1)
    """Kept weights / all weights of the layer."""
    reason: str = ""

    @classmethod
    def of(cls, layer: LayerSpec, scheme: SchemeSpec, density: float, reason: str = "") -> PlanLayer:
        """Return the choice for ``layer``."""
        return cls(
            name=layer.name,
            module=layer.module,
            kind=layer.kind,
            weight_shape=layer.weight_shape,
            scheme=scheme,
            density=density,
            reason=reason,
        )


class ModelIdentity(Value):
    """Which network a file was made for: a name for people, a hash of the layer shapes for the machine."""

    name: str = ""
    layers_sha256: str = ""


class Plan(Value):
    """plan.json: the choice for every weight-carrying layer, in graph order."""

    version: Literal[1] = 1
    model: ModelIdentity = ModelIdentity()
    layers: tuple[PlanLayer, ...]

    def resolve(self, layers: Sequence[LayerSpec]) -> list[PlanLayer | None]:
        """Return the plan's entry for each of ``layers`` (None where the plan does not speak of it).

        A layer is found by module, then by name, then by order among those of the same kind and shape.

        Raises:
            UserError: an entry matches no layer, several, or one of another shape; all are listed.
        """
        return resolve_layers(self.layers, layers)


def resolve_layers(
    entries: Sequence[PlanLayer], layers: Sequence[LayerSpec], what: str = "plan"
) -> list[PlanLayer | None]:
    """See :meth:`Plan.resolve`; ``what`` names the file in messages."""
    found: list[PlanLayer | None] = [None] * len(layers)
    problems = Problems(f"{what}: it does not fit this model")
    unnamed: list[PlanLayer] = []
    for entry in entries:
        by_module = [i for i, layer in enumerate(layers) if entry.module and layer.module == entry.module]
        by_name = [i for i, layer in enumerate(layers) if layer.name == entry.name]
        candidates = by_module or by_name
        if len(candidates) > 1:
            names = ", ".join(layers[i].name for i in candidates)
            problems.add(f"layer {entry.name!r} is ambiguous, candidates: {names}")
        elif not candidates:
            unnamed.append(entry)
        elif layers[candidates[0]].weight_shape != entry.weight_shape:
            layer = layers[candidates[0]]
            problems.add(
                f"layer {entry.name!r} has weight shape {list(layer.weight_shape)}, "
                f"{what} says {list(entry.weight_shape)}"
            )
        elif found[candidates[0]] is not None:
            problems.add(f"layer {entry.name!r} is named twice")
        else:
            found[candidates[0]] = entry
    _resolve_by_order(unnamed, layers, found, problems)
    problems.raise_if_any()
    return found


def _resolve_by_order(
    unnamed: Sequence[PlanLayer],
    layers: Sequence[LayerSpec],
    found: list[PlanLayer | None],
    problems: Problems,
) -> None:
    """Match entries whose name is unknown to the free layers of the same kind and shape, if the counts agree."""

    def key(layer: PlanLayer | LayerSpec) -> tuple[str, tuple[int, ...]]:
        return layer.kind, layer.weight_shape

    for group in dict.fromkeys(key(entry) for entry in unnamed):
        entries = [entry for entry in unnamed if key(entry) == group]
        free = [i for i, layer in enumerate(layers) if key(layer) == group and found[i] is None]
        if len(free) == len(entries):
            for i, entry in zip(free, entries, strict=True):
                found[i] = entry
        else:
            names = ", ".join(layers[i].name for i in free[:4]) or "none"
            for entry in entries:
                problems.add(
                    f"layer {entry.name!r} ({entry.kind} {list(entry.weight_shape)}) is not in the model; "
                    f"free layers of that kind and shape: {names}"
                )
