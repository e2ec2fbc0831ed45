"""The anchor: one fixed layer that is timed beside everything else, so that a slower minute of the machine is seen."""

from __future__ import annotations

import numpy as np

from prunemap.compiler import LayerCase, compile_layers
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE
from prunemap.latency.probe import Probe
from prunemap.runtime import Program

ANCHOR = Probe(
    LayerSetting(kind="conv", in_channels=64, out_channels=64, kernel=(3, 3), pads=(1, 1, 1, 1), size=(14, 14)),
    DENSE,
    1.0,
)
"""A dense 3x3 convolution that stays in the second-level cache: its time follows the clock and the share of a core that
this process gets, and little else."""


def compile_anchor(target: str, cc: str | None) -> Program:
    """Compile the anchor with the tile that a model chooses, so that it is the same program every time."""
    return compile_layers([LayerCase(ANCHOR.setting, ANCHOR.weight().astype(np.float32))], target=target, cc=cc)
