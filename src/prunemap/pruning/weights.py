"""The weights of a torch module that can be pruned, and how the schemes see each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor, nn

from prunemap.core.layer import LayerKind

CONV, TRANSPOSED = (nn.Conv1d, nn.Conv2d), (nn.ConvTranspose1d, nn.ConvTranspose2d)
RECURRENT, CELLS = (nn.LSTM, nn.GRU), (nn.LSTMCell, nn.GRUCell)
OF_ATTENTION = nn.modules.linear.NonDynamicallyQuantizableLinear
GATES = ("weight_ih", "weight_hh")
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")


@dataclass(frozen=True, eq=False)
class PrunableWeight:
    """One weight: a parameter of a module, found by name, so that it may move to another device or be replaced."""

    name: str
    """What plans and masks call it: the qualified name of its module for ``weight``, else that of the parameter."""
    owner: nn.Module
    """The module whose call multiplies by it: attention does so by the weight of its ``out_proj`` itself."""
    attribute: str
    kind: LayerKind
    transposed_groups: int = 0
    """Of a transposed convolution, whose parameter is (I, O/groups, …); 0 for all others: (O, I/groups, …)."""

    @property
    def parameter(self) -> Tensor:
        """The parameter as it is now."""
        value: Tensor = attrgetter(self.attribute)(self.owner)
        return value

    @property
    def computed(self) -> bool:
        """Whether it is no parameter but the result of a parametrization (such as weight norm)."""
        return not isinstance(self.parameter, nn.Parameter)

    def seen(self, values: Tensor) -> Tensor:
        """Return values of the parameter's shape as schemes see them: filters first, (O, I/groups, …)."""
        return self._turned(values)

    def stored(self, values: Tensor) -> Tensor:
        """Inverse of :meth:`seen`."""
        return self._turned(values)

    def _turned(self, values: Tensor) -> Tensor:
        """Exchange filters and inputs within every group of a transposed convolution; twice gives what was given."""
        if not self.transposed_groups:
            return values
        g, (rows, columns), kernel = self.transposed_groups, values.shape[:2], values.shape[2:]
        return values.reshape(g, rows // g, columns, *kernel).transpose(1, 2).reshape(g * columns, rows // g, *kernel)


def prunable_weights(module: nn.Module) -> dict[str, PrunableWeight]:
    """Return the weights of convolutions, linear layers, attention and LSTM/GRU gates, in the order of definition."""
    found = (weight for name, layer in module.named_modules() for weight in _weights_of(name, layer))
    return {weight.name: weight for weight in found}


def _weights_of(name: str, layer: nn.Module) -> Iterator[PrunableWeight]:
    if isinstance(layer, CONV):
        depthwise = layer.groups == layer.in_channels > 1
        yield PrunableWeight(name, layer, "weight", "depthwise" if depthwise else "conv")
    elif isinstance(layer, TRANSPOSED):
        yield PrunableWeight(name, layer, "weight", "conv_transpose", layer.groups)
    elif isinstance(layer, nn.Linear) and not isinstance(layer, OF_ATTENTION):
        yield PrunableWeight(name, layer, "weight", "linear")
    elif isinstance(layer, nn.MultiheadAttention):
        for attribute in PROJECTIONS:
            if attrgetter(attribute)(layer) is not None:
                yield PrunableWeight(_join(name, attribute.removesuffix(".weight")), layer, attribute, "linear")
    elif isinstance(layer, (*RECURRENT, *CELLS)):
        kind: LayerKind = "lstm" if isinstance(layer, nn.LSTM | nn.LSTMCell) else "gru"
        for attribute, _ in layer.named_parameters(recurse=False):
            if attribute.startswith(GATES):
                yield PrunableWeight(_join(name, attribute), layer, attribute, kind)


def _join(name: str, attribute: str) -> str:
    return f"{name}.{attribute}" if name else attribute
