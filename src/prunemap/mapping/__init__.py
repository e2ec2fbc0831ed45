"""MAPPERS: ways to choose the scheme and the density of every layer; ``rules`` needs no training."""

from prunemap.core.table import by_name
from prunemap.mapping.decision import Decision, RatedScheme, Yardstick
from prunemap.mapping.map_model import map_model
from prunemap.mapping.mapper import Budget, Mapper, MapRequest, MapResult
from prunemap.mapping.rules import Rules

__all__ = [
    "MAPPERS",
    "Budget",
    "Decision",
    "MapRequest",
    "MapResult",
    "Mapper",
    "RatedScheme",
    "Yardstick",
    "map_model",
]

MAPPERS: dict[str, Mapper] = by_name((Rules(),))
