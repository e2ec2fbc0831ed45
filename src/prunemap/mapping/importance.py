"""Importance c_l: how much loss a layer adds per share of its weight energy that is lost, from a sensitivity file.

Per layer the loss above that of the dense network is taken as c_l (1 − e), e being the share of the energy kept, of
whole filters its power of 2.5; c_l is the least squares fit through the origin, c_l = Σ Δ (1 − e) / Σ (1 − e)².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import PlanLayer, resolve_layers
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityRow
from prunemap.mapping.energy import as_counted

LEAST = 0.01
"""Of the mean: less is within the noise of the measurement, and no layer is worth nothing."""


@dataclass(frozen=True)
class Importance:
    """c_l of every layer by its name, where wanted of its schemes too; the mean over the layers is 1."""

    layers: Mapping[str, float] = field(default_factory=dict)
    schemes: Mapping[tuple[str, SchemeSpec], float] = field(default_factory=dict)
    """Of a layer pruned by a scheme that was measured; others have that of the layer."""

    def of(self, layer: str, scheme: SchemeSpec) -> float:
        """Return c_l; 1 for a layer that was not measured."""
        return self.schemes.get((layer, scheme), self.layers.get(layer, 1.0))

    def why(self, layer: str, scheme: SchemeSpec) -> str:
        """Return what a plan says of it; nothing where no layer was measured."""
        if not self.layers:
            return ""
        if layer not in self.layers:
            return "sensitivity not measured, taken as the mean"
        return f"sensitivity {self.of(layer, scheme):.2g} of the mean"


EQUAL = Importance()
"""Every layer matters alike."""


def importance_of(sensitivity: Sensitivity, layers: Sequence[LayerSpec]) -> Importance:
    """Return the importance of those of ``layers`` that were measured.

    A layer is found by module, then by name, then by order among those of the same kind and shape, as in a plan.

    Raises:
        UserError: a layer of the file is not in the network, or has another shape; all such are listed.
    """
    by_layer = sensitivity.of_layers()
    entries = [_entry(rows[0]) for rows in by_layer.values()]
    found = resolve_layers(entries, layers, "sensitivity")
    rows = {spec.name: by_layer[entry.name] for spec, entry in zip(layers, found, strict=True) if entry is not None}
    fits = {name: fit(each, sensitivity.baseline_loss) for name, each in rows.items()}
    mean = sum(fits.values()) / max(len(fits), 1)
    if not mean > 0:
        return Importance(dict.fromkeys(fits, 1.0))
    of_schemes = {
        (name, scheme): fit([row for row in each if row.scheme == scheme], sensitivity.baseline_loss)
        for name, each in rows.items()
        for scheme in {row.scheme for row in each}
    }
    return Importance(
        layers={name: max(c / mean, LEAST) for name, c in fits.items()},
        schemes={key: max(c / mean, LEAST) for key, c in of_schemes.items()},
    )


def fit(rows: Sequence[SensitivityRow], baseline_loss: float) -> float:
    """Return c_l in nats, at least 0; 0 for rows that lose no energy."""
    lost = [1 - as_counted(row.energy_kept, row.scheme) for row in rows]
    above = [row.loss - baseline_loss for row in rows]
    squares = sum(share**2 for share in lost)
    return max(0.0, sum(a * share for a, share in zip(above, lost, strict=True)) / squares) if squares else 0.0


def _entry(row: SensitivityRow) -> PlanLayer:
    return PlanLayer(
        name=row.layer,
        module=row.module,
        kind=row.kind,
        weight_shape=row.weight_shape,
        scheme=row.scheme,
        density=row.density,
    )
