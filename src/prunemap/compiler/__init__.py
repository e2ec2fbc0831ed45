"""The sparse compiler: ONNX → typed graph → planar layout and packed weights → one C program → native library."""

from prunemap.compiler.build import kernel_sources
from prunemap.compiler.compile import compile_model
from prunemap.compiler.coupling import read_wiring
from prunemap.compiler.fallback import compile_with_fallback, read_segment_costs
from prunemap.compiler.identity import GraphIdentity, identify
from prunemap.compiler.layer_cases import (
    LayerCase,
    case_slots,
    compile_embedded,
    compile_layers,
    interpret_layers,
    tile_variants,
)
from prunemap.compiler.layers import ModelLayer, identity_of, inspect_model, read_layers, read_specs
from prunemap.compiler.network import ModelNetwork, read_network
from prunemap.compiler.structure import structure_of
from prunemap.compiler.tune import Tuning

__all__ = [
    "GraphIdentity",
    "LayerCase",
    "ModelLayer",
    "ModelNetwork",
    "Tuning",
    "case_slots",
    "compile_embedded",
    "compile_layers",
    "compile_model",
    "compile_with_fallback",
    "identify",
    "identity_of",
    "inspect_model",
    "interpret_layers",
    "kernel_sources",
    "read_layers",
    "read_network",
    "read_segment_costs",
    "read_specs",
    "read_wiring",
    "structure_of",
    "tile_variants",
]
