"""SchemeSpec: the name of a pruning scheme with its block size, as users type it (``punched:8x4``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from prunemap.errors import UserError

_PATTERN = r"[a-z_]+(:[1-9]\d{0,4}x[1-9]\d{0,4})?"
_GRAMMAR = re.compile(r"(?P<name>[a-z_]+)(:(?P<rows>[1-9]\d{0,4})x(?P<cols>[1-9]\d{0,4}))?")


@dataclass(frozen=True, order=True)
class SchemeSpec:
    """A scheme name and, for blocked schemes, the block as (rows = filters, columns = channels).

    Written ``name`` or ``name:RxC``. Which names exist, and which need a block, is known to
    :mod:`prunemap.schemes`; this value only knows the grammar.
    """

    name: str
    block: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> SchemeSpec:
        """Parse ``text``.

        Raises:
            UserError: the text does not follow the grammar.
        """
        match = _GRAMMAR.fullmatch(text.strip())
        if match is None:
            raise UserError(f"scheme: got {text!r}, allowed is NAME or NAME:RxC, such as pattern or punched:8x4")
        if match["rows"] is None:
            return cls(match["name"])
        return cls(match["name"], (int(match["rows"]), int(match["cols"])))

    def __str__(self) -> str:
        return self.name if self.block is None else f"{self.name}:{self.block[0]}x{self.block[1]}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read and write a scheme as its string."""

        def validate(value: Any) -> SchemeSpec:
            if isinstance(value, SchemeSpec):
                return value
            try:
                return cls.parse(str(value))
            except UserError as error:
                raise ValueError(str(error)) from None

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the string."""
        return {"type": "string", "pattern": f"^{_PATTERN}$"}


DENSE = SchemeSpec("dense")
