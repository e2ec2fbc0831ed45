"""ELEMENTWISE_RULES."""

from __future__ import annotations

from collections.abc import Mapping

from prunemap.compiler.onnx_node import GeneralRule

ELEMENTWISE_RULES: Mapping[str, GeneralRule] = {}
