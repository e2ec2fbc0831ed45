"""Which layers must lose the same filters: those whose outputs are added, since a sum is zero only where all are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from prunemap.compiler.coupling import coupled_layers
from prunemap.core.plan import PlanLayer
from prunemap.errors import UserError
from prunemap.pruning.export import convert_module
from prunemap.pruning.layers import Examples


def shared_filters(
    module: nn.Module, examples: Examples, choices: Mapping[str, PlanLayer]
) -> tuple[frozenset[str], ...]:
    """Return sets of the layers that the plan prunes by ``filter`` and whose outputs meet in residual sums.

    The graph is that of the ONNX export, so the module is exported once if such a plan leaves any doubt.
    """
    filters: dict[int, set[str]] = {}
    for name, choice in choices.items():
        if choice.scheme.name == "filter" and choice.kind != "depthwise":
            filters.setdefault(choice.weight_shape[0], set()).add(name)
    names = set().union(*(same for same in filters.values() if len(same) > 1))
    if not names:
        return ()
    try:
        with TemporaryDirectory() as folder:
            convert_module(module, examples, Path(folder) / "graph.onnx")
            coupled = coupled_layers(Path(folder) / "graph.onnx")
    except UserError as error:
        warnings.warn(
            "every layer chooses its own filters, since the residual sums of the network are not known: "
            + str(error).splitlines()[0],
            stacklevel=2,
        )
        return ()
    return tuple(frozenset(group & names) for group in coupled if len(group & names) > 1)
