"""MAPPERS: ways to choose the scheme and the density of every layer; ``rules`` needs no training."""

from prunemap.core.table import by_name
from prunemap.mapping.choices import LayerChoices, Option
from prunemap.mapping.decision import Decision, RatedScheme, Yardstick
from prunemap.mapping.fixed import why_fixed
from prunemap.mapping.map_model import map_model
from prunemap.mapping.mapper import Budget, BudgetError, Mapper, MapRequest, MapResult
from prunemap.mapping.rules import Rules

__all__ = [
    "MAPPERS",
    "Budget",
    "BudgetError",
    "Decision",
    "LayerChoices",
    "MapRequest",
    "MapResult",
    "Mapper",
    "Option",
    "RatedScheme",
    "Rules",
    "Yardstick",
    "map_model",
    "why_fixed",
]

MAPPERS: dict[str, Mapper] = by_name((Rules(),))
