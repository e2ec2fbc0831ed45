"""NetworkEnergy: what a network keeps of its weights' energy; a layer behind lost filters loses what read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prunemap.core.layer import LayerSpec
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.wiring import Wiring
from prunemap.mapping.choices import FILTER
from prunemap.mapping.energy import FILTER_POWER, as_counted
from prunemap.mapping.importance import Importance
from prunemap.mapping.mapper import MapRequest
from prunemap.mapping.units import Choice

Shares = Mapping[str, tuple[SchemeSpec, float]]
"""By name, of every layer that may be pruned: its scheme, and the share of Σ w² that it keeps by itself."""


class NetworkEnergy:
    """Energy and loss of layers, and of the whole.

    A layer keeps own · in: own is the share of Σ w² that its choice keeps, in what is left of its input channels. Where
    the layers before it keep a share e with their filters, in the mean of those whose outputs are added, in =
    e^(FILTER_POWER − 1); so a network of which every layer loses filters keeps e^FILTER_POWER. Filters that no layer is
    known to read count so by themselves.

    Args:
        layers: of the network. Those that stay dense count too where they lose input channels, but for depthwise ones,
            which only pass them on.
    """

    def __init__(self, layers: Sequence[LayerSpec], wiring: Wiring, importance: Importance) -> None:
        through = {layer.name for layer in layers if layer.kind == "depthwise"}
        self._sources = {name: each for name, each in wiring.sources.items() if name not in through}
        self._readers = {
            name: tuple(each for each in readers if each not in through) for name, readers in wiring.readers.items()
        }
        self._importance = importance

    @classmethod
    def of(cls, request: MapRequest) -> NetworkEnergy:
        """Return that of the network asked about."""
        return cls([layer.spec for layer in request.layers], request.wiring, request.importance)

    def readers(self, names: Iterable[str]) -> set[str]:
        """Return the layers that read filters of some layers."""
        return {reader for name in names for reader in self._readers.get(name, ())}

    def inputs_kept(self, name: str, shares: Shares) -> float:
        """Return what a layer keeps in what is left of its input channels."""
        return 1 - sum(
            source.part * (1 - _channels_kept([shares.get(each) for each in source.layers]))
            for source in self._sources.get(name, ())
        )

    def energy(self, name: str, shares: Shares) -> float:
        """Return the share of the energy that a layer keeps."""
        return self._own(name, *shares.get(name, (DENSE, 1.0))) * self.inputs_kept(name, shares)

    def loss(self, name: str, shares: Shares) -> float:
        """Return the share of the energy that a layer loses, times its importance."""
        inputs = self.inputs_kept(name, shares)
        return self.loss_with(inputs, name, *shares[name]) if name in shares else 1 - inputs

    def loss_with(self, inputs: float, name: str, scheme: SchemeSpec, share: float) -> float:
        """Return the loss of a layer that keeps so much in what is left of its input channels."""
        return self._importance.of(name, scheme) * (1 - self._own(name, scheme, share) * inputs)

    def _own(self, name: str, scheme: SchemeSpec, share: float) -> float:
        return share if self._readers.get(name) else as_counted(share, scheme)

    def total_loss(self, shares: Shares) -> float:
        """Return the sum of the losses."""
        return sum(self.loss(name, shares) for name in shares.keys() | self._sources.keys())

    def kept(self, shares: Shares) -> float:
        """Return the mean energy over the layers that may be pruned; what others lose is theirs, too."""
        lost = sum(1 - self.energy(name, shares) for name in shares.keys() | self._sources.keys())
        return max(0.0, 1 - lost / max(1, len(shares)))


def _channels_kept(makers: Sequence[tuple[SchemeSpec, float] | None]) -> float:
    """Return what those that read channels which several layers make keep: a sum loses what its addends lose."""
    shares = [maker[1] if maker is not None and maker[0] == FILTER else 1.0 for maker in makers]
    return float((sum(shares) / len(shares)) ** (FILTER_POWER - 1))


def shares_of(choices: Iterable[Choice]) -> dict[str, tuple[SchemeSpec, float]]:
    """Return scheme and share of Σ w² kept, by layer."""
    return {option.layer: (option.scheme, option.share) for choice in choices for option in choice}
