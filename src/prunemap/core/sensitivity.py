"""Sensitivity: what pruning one layer alone costs in accuracy (sensitivity.json, version 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prunemap.core.layer import LayerKind
from prunemap.core.plan import ModelIdentity
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value


class SensitivityRow(Value):
    """One measurement: one layer pruned in one shot, every other layer dense, no training.

    ``layer`` is the ONNX node name, ``module`` the torch qualified name ("" if unknown).
    """

    layer: str
    module: str = ""
    kind: LayerKind
    weight_shape: tuple[int, ...]
    scheme: SchemeSpec
    density: float = Field(gt=0, le=1)
    """Kept / all weights of the layer as asked for; the mask meets it to within one group of the scheme."""
    energy_kept: float = Field(ge=0, le=1)
    """Σ kept w² / Σ w² of the weights as they are pruned, batch norm not folded in."""
    accuracy: float = Field(ge=0, le=1)
    loss: float = Field(ge=0, allow_inf_nan=False)
    """Mean cross-entropy in nats."""


class SensitivityConditions(Value):
    """What rows must have in common to stand in one file."""

    weights_sha256: str
    """Of the dense network's weights."""
    dataset: str
    split: Literal["held_out"] = "held_out"
    """Training images that no network was trained on; never the test set."""
    images: int = Field(gt=0)
    images_sha256: str
    """Of the normalised images and their labels."""
    batchnorm_reestimated: bool = False
    """Whether the statistics of batch norm were measured again after pruning."""


class Sensitivity(Value):
    """sensitivity.json: rows in the order in which they were measured, one per (layer, scheme, density)."""

    version: Literal[1] = 1
    model: ModelIdentity
    conditions: SensitivityConditions
    baseline_accuracy: float = Field(ge=0, le=1)
    """Of the dense network, 0 to 1."""
    baseline_loss: float = Field(ge=0, allow_inf_nan=False)
    command: str = ""
    date: str = ""
    rows: tuple[SensitivityRow, ...] = ()

    def of_layers(self) -> dict[str, list[SensitivityRow]]:
        """Return the rows by the name of the layer, layers in the order in which they were first measured."""
        found: dict[str, list[SensitivityRow]] = {}
        for row in self.rows:
            found.setdefault(row.layer, []).append(row)
        return found

    def schemes(self) -> list[SchemeSpec]:
        """Return the schemes measured, in the order in which they were."""
        return list(dict.fromkeys(row.scheme for row in self.rows))
