"""Names of what an ONNX node becomes: several nodes of the graph, each with a slot of its own when it is timed."""

from __future__ import annotations

import re

_ADDED = re.compile(r"(/reverse)?(/recurrent)?(/(tokens|in|out|vectors))?(#\d+)?(=.*)?$")
"""What the import (``#2``, ``=output``, the layers of an LSTM) and the pass tokens_to_pixels put behind the name."""


def onnx_name(node: str) -> str:
    """Return the name of the ONNX node that a node of the graph came from."""
    return node[: _ADDED.search(node).start()]  # type: ignore[union-attr]  # it matches the empty end at least
