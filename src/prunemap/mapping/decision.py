"""Decision: what one layer was given, beside everything else that it could have had, and the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import Value

Verdict = Literal[
    "chosen", "keeps less", "too slow", "no gain", "no filters", "not shared", "not needed", "slower", "sooner"
]
"""Fast enough, but keeps less energy; outside 1+β of the yardstick; not clearly faster than dense; the layer may not
lose filters alone; layers of a residual sum lose filters together; the budget is met without pruning the layer.

Where schemes were weighed: as much energy takes longer; or less, but between the densities tried, or the layer is more
sensitive to the scheme. "keeps less" is then at the highest density."""
SLOW: tuple[Verdict, ...] = ("too slow", "no gain")


class RatedScheme(Value):
    """A scheme that a layer could have, and what became of it."""

    scheme: SchemeSpec
    density: float
    latency_us: float
    """Predicted, of this layer with all its input channels."""
    energy: float
    """Σ kept w² / Σ w² of this layer by itself, of whole filters its power of 2.5."""
    verdict: Verdict


class Yardstick(Value):
    """What the latency of a scheme is compared with: it may be (1 + β) times as slow."""

    name: str
    """Whole filters, or what stands for them."""
    latency_us: float


class Decision(Value):
    """The choice for one layer."""

    layer: str
    """Its ONNX node."""
    scheme: SchemeSpec
    density: float
    dense_us: float | None = None
    """Predicted latency of the layer when dense, with all its input channels; None where it is not modelled."""
    yardstick: Yardstick | None = None
    """At the density chosen; None for a layer that stays dense, and where schemes were weighed."""
    rated: tuple[RatedScheme, ...] = ()
    """Every scheme measured, the chosen one too: at the density chosen; where schemes were weighed, at the one at which
    it keeps as much energy; of a layer that stays dense at the lowest that was measured. Empty for layers that are
    never pruned."""
    note: str = ""
    """What else matters: why the layer is never pruned, who shares its filters, how sensitive it is, what filters that
    are lost save in it or behind it."""

    def noting(self, more: str) -> Decision:
        """Return it with something more that is noted."""
        return self.model_copy(update={"note": "; ".join(each for each in (self.note, more) if each)})

    @property
    def chosen(self) -> RatedScheme | None:
        """The scheme chosen as it was rated; None for a layer that stays dense."""
        return next((each for each in self.rated if each.verdict == "chosen"), None)

    @property
    def reason(self) -> str:
        """The decision in words: its latency, and why the nearest alternatives lost."""
        if self.chosen is not None:
            said = [_gain(self.chosen, self.dense_us), *_rivals(self, self.chosen), self.note]
        elif self.rated:
            said = [_why_dense(self.rated, self.dense_us), self.note]
        elif self.note:
            said = [self.note, "" if self.dense_us is None else f"dense {in_words(self.dense_us)}"]
        else:
            said = ["no scheme was measured for it"]
        return "; ".join(each for each in said if each)


def in_words(latency_us: float) -> str:
    """Return 12.34 as 12.3 µs, 1234.5 as 1.23 ms."""
    return f"{latency_us:.3g} µs" if latency_us < 999.5 else f"{latency_us / 1e3:.3g} ms"


def _gain(chosen: RatedScheme, dense_us: float | None) -> str:
    gain = "" if dense_us is None else f", {dense_us / chosen.latency_us:.1f}x faster than dense"
    return f"{in_words(chosen.latency_us)}{gain}, {percent_of(chosen.energy)} of the energy"


def _rivals(decision: Decision, chosen: RatedScheme) -> list[str]:
    """Return why the nearest alternatives lost: the fastest that would keep more energy, and the next best."""
    if decision.yardstick is None:
        return _weighed_rivals(decision, chosen)
    better = [each for each in decision.rated if each.energy > chosen.energy and each.verdict in (*SLOW, "not shared")]
    found = []
    if better:
        found.append(_why_not_better(min(better, key=lambda each: each.latency_us), chosen, decision.yardstick))
    worse = [each for each in decision.rated if each.verdict == "keeps less"]
    if worse:
        found.append(_why_not_worse(max(worse, key=lambda each: (each.energy, -each.latency_us)), chosen))
    return found


def _weighed_rivals(decision: Decision, chosen: RatedScheme) -> list[str]:
    """Return the fastest that would keep as much sooner, and why it may not; and the two that take longer."""
    as_much = [each for each in decision.rated if each.energy >= chosen.energy and each.verdict in _WHY_NOT_SOONER]
    sooner = min(as_much, key=lambda each: each.latency_us, default=None)
    slower = sorted((each for each in decision.rated if each.verdict == "slower"), key=lambda each: each.latency_us)
    found = []
    if sooner is not None:
        found.append(f"{sooner.scheme} {_WHY_NOT_SOONER[sooner.verdict]} {in_words(sooner.latency_us)}")
    if slower:
        took = " and ".join(f"{each.scheme} {in_words(each.latency_us)}" for each in slower[:2])
        found.append(f"to keep as much takes {took}")
    return found


_WHY_NOT_SOONER: dict[Verdict, str] = {
    "too slow": "is outside 1+β, else would keep as much in",
    "not shared": "alone would keep as much in",
    "sooner": "keeps as much in",
}


def _why_not_better(rival: RatedScheme, chosen: RatedScheme, yardstick: Yardstick | None) -> str:
    took = f"{rival.scheme} {in_words(rival.latency_us)}"
    if rival.verdict == "not shared":
        return f"{took} alone would keep {percent_of(rival.energy / (chosen.energy or 1.0) - 1)} more energy"
    if rival.verdict == "no gain" or yardstick is None:
        return f"{took} is not faster than dense"
    return f"{took} is outside 1+β of {yardstick.name} {in_words(yardstick.latency_us)}"


def _why_not_worse(rival: RatedScheme, chosen: RatedScheme) -> str:
    less = 1 - rival.energy / (chosen.energy or 1.0)
    if less < 5e-4:
        return f"{rival.scheme} keeps as much in {in_words(rival.latency_us)}"
    return f"{rival.scheme} keeps {percent_of(less)} less energy"


def _why_dense(rated: Sequence[RatedScheme], dense_us: float | None) -> str:
    best = min(rated, key=lambda each: each.latency_us)
    pays = any(each.verdict == "not needed" for each in rated)
    dense = "" if dense_us is None else f", dense {in_words(dense_us)}"
    return (
        f"{'the budget is met without it' if pays else 'nothing measured beats dense'}: {best.scheme} at "
        f"{percent_of(best.density)} would take {in_words(best.latency_us)}{dense}, and keep {percent_of(best.energy)} "
        "of the energy"
    )


def percent_of(share: float) -> str:
    """Return 0.1234 as 12 %, 0.0123 as 1.2 %."""
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def never_pruned(layer: str, why: str, dense_us: float | None) -> Decision:
    """Return the decision for a layer that stays dense whatever the device."""
    return Decision(layer=layer, scheme=DENSE, density=1.0, dense_us=dense_us, note=why)
