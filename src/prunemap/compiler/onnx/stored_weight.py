"""How an ONNX file stores the weight of a layer, and the way back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from prunemap.compiler.graph.ir import AnyArray, Array
from prunemap.compiler.onnx.rules.conv_transpose import as_conv_weight


@dataclass(frozen=True)
class StoredWeight:
    """Where a layer's weight (O, I/groups, …) lies in the file."""

    tensor: str
    form: Literal["as it is", "transposed", "inputs first"] = "as it is"
    """transposed: (…, I, O); inputs first: that of a transposed convolution, (I, O/groups, …)."""
    groups: int = 1
    part: int | None = None
    """Which of the parts that the tensor holds along its first axis: the directions of recurrent layers."""

    @property
    def place(self) -> tuple[str, int | None]:
        """What nodes that share the weight have in common, however each of them reads it."""
        return self.tensor, self.part

    def transposed(self) -> StoredWeight:
        """Return the same weight with its last two axes in the other order."""
        return replace(self, form="as it is" if self.form == "transposed" else "transposed")

    def read(self, whole: AnyArray) -> Array:
        """Return the weight of the layer; whole: the tensor."""
        weight = whole if self.part is None else whole[self.part]
        if self.form == "transposed":
            weight = weight.swapaxes(-1, -2)
        elif self.form == "inputs first":
            weight = as_conv_weight(weight, self.groups)
        return np.ascontiguousarray(weight, np.float32)

    def write(self, whole: AnyArray, weight: Array) -> AnyArray:
        """Return the tensor with another weight for the layer."""
        stored = weight
        if self.form == "transposed":
            stored = weight.swapaxes(-1, -2)
        elif self.form == "inputs first":  # a group's outputs and inputs change places again
            parts = weight.reshape(self.groups, weight.shape[0] // self.groups, *weight.shape[1:]).swapaxes(1, 2)
            stored = parts.reshape(whole.shape)
        written = whole.copy()
        written[... if self.part is None else self.part] = stored
        return written
