"""Rating: what was decided for a layer, beside every scheme that it could have had instead."""

from __future__ import annotations

from collections.abc import Iterator

from prunemap.core.scheme_spec import DENSE
from prunemap.mapping.choices import FILTER, Filters, LayerChoices, Option
from prunemap.mapping.decision import Decision, RatedScheme, Verdict


def decide(layer: LayerChoices, chosen: Option, filters: Filters, note: str = "") -> Decision:
    """Return an option of a layer as a decision.

    Args:
        note: what else was decisive.
    """
    by_rule = chosen.scheme != DENSE and not layer.weighed
    return Decision(
        layer=layer.spec.name,
        scheme=chosen.scheme,
        density=chosen.density,
        dense_us=layer.dense.latency_us,
        yardstick=layer.yardstick(chosen.density, filters != "forbidden") if by_rule else None,
        rated=tuple(_rate(layer, chosen, filters)),
        note="; ".join(each for each in (note, layer.importance.why(layer.spec.name, chosen.scheme)) if each),
    )


def _rate(layer: LayerChoices, chosen: Option, filters: Filters) -> Iterator[RatedScheme]:
    if chosen.scheme == DENSE:
        return _rate_unused(layer)
    return _rate_weighed(layer, chosen, filters) if layer.weighed else _rate_ruled(layer, chosen, filters)


def _rate_unused(layer: LayerChoices) -> Iterator[RatedScheme]:
    """Yield every scheme at its lowest density."""
    for scheme in layer.schemes:
        option = layer.option(scheme, layer.lowest_density(scheme))
        yield _rated(option, "not needed" if layer.beats_dense(option.latency_us) else "no gain")


def _rate_ruled(layer: LayerChoices, chosen: Option, filters: Filters) -> Iterator[RatedScheme]:
    """Yield every scheme at the density of the chosen one."""
    fast = layer.candidates(chosen.density, filters != "forbidden")
    for scheme in layer.latencies(chosen.density):
        option = layer.option(scheme, chosen.density)
        yield _rated(option, _verdict_ruled(layer, option, chosen, scheme in fast, filters))


def _verdict_ruled(layer: LayerChoices, option: Option, chosen: Option, is_fast: bool, filters: Filters) -> Verdict:
    if option.scheme == chosen.scheme:
        return "chosen"
    if option.scheme == FILTER and filters == "forbidden":
        return "no filters"
    if not is_fast:
        return "too slow" if layer.beats_dense(option.latency_us) else "no gain"
    return "not shared" if filters == "shared" and option.energy > chosen.energy else "keeps less"


def _rate_weighed(layer: LayerChoices, chosen: Option, filters: Filters) -> Iterator[RatedScheme]:
    """Yield the chosen scheme, and every other one where it keeps as much energy."""
    for scheme in layer.schemes:
        option = chosen if scheme == chosen.scheme else layer.least_keeping(chosen.energy, scheme)
        yield _rated(option, _verdict_weighed(layer, option, chosen, filters))


def _verdict_weighed(layer: LayerChoices, option: Option, chosen: Option, filters: Filters) -> Verdict:
    if option.scheme == chosen.scheme:
        return "chosen"
    if option.scheme == FILTER and filters == "forbidden":
        return "no filters"
    if option.energy < chosen.energy:
        return "keeps less"
    if not layer.beats_dense(option.latency_us):
        return "no gain"
    if option.latency_us >= chosen.latency_us:
        return "slower"
    if filters == "shared":
        return "not shared"
    is_open = option.latency_us <= layer.limit_us(option.density, filters == "allowed")
    return "sooner" if is_open else "too slow"


def _rated(option: Option, verdict: Verdict) -> RatedScheme:
    return RatedScheme(
        scheme=option.scheme,
        density=option.density,
        latency_us=option.latency_us,
        energy=option.energy,
        verdict=verdict,
    )
