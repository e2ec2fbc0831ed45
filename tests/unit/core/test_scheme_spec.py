"""SchemeSpec: the grammar that users type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value
from prunemap.errors import UserError

names = st.from_regex(r"[a-z_]+", fullmatch=True)
blocks = st.none() | st.tuples(st.integers(1, 99_999), st.integers(1, 99_999))


@given(names, blocks)
def test_parse_is_the_inverse_of_str(name: str, block: tuple[int, int] | None) -> None:
    spec = SchemeSpec(name, block)
    assert SchemeSpec.parse(str(spec)) == spec


@pytest.mark.parametrize("text", ["", "Punched:8x4", "punched:8", "punched:0x4", "punched:8x4x2", "punched:8×4", "8x4"])
def test_what_does_not_follow_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"scheme: got .* allowed is NAME or NAME:RxC"):
        SchemeSpec.parse(text)


def test_spaces_around_it_do_not_matter() -> None:
    assert SchemeSpec.parse(" punched:8x4 ") == SchemeSpec("punched", (8, 4))


class Holder(Value):
    scheme: SchemeSpec


def test_it_is_a_string_in_json() -> None:
    text = Holder(scheme=SchemeSpec("punched", (8, 4))).model_dump_json()
    assert text == '{"scheme":"punched:8x4"}'
    assert Holder.model_validate_json(text).scheme == SchemeSpec("punched", (8, 4))
    with pytest.raises(ValidationError, match="allowed is NAME or NAME:RxC"):
        Holder.model_validate_json('{"scheme": "8"}')
