"""Value: the base of everything that is written to JSON: frozen, validated, nothing unknown in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value with a JSON round trip."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """Return the value as indented JSON."""
        return self.model_dump_json(indent=1)
