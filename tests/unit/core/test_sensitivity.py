"""Sensitivity: JSON round trip, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prunemap.core.plan import ModelIdentity
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityConditions, SensitivityRow
from prunemap.core.value import read_json
from prunemap.errors import UserError

shares = st.floats(0, 1)
rows = st.builds(
    SensitivityRow,
    layer=st.text(min_size=1),
    module=st.text(),
    kind=st.sampled_from(["conv", "depthwise", "linear"]),
    weight_shape=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    scheme=st.builds(SchemeSpec, st.sampled_from(["filter", "punched"]), st.none() | st.just((8, 4))),
    density=st.floats(0, 1, exclude_min=True),
    energy_kept=shares,
    accuracy=shares,
    loss=st.floats(0, 1e9),
)


def file_of(*measured: SensitivityRow) -> Sensitivity:
    conditions = SensitivityConditions(weights_sha256="ab", dataset="stripes", images=20, images_sha256="cd")
    return Sensitivity(
        model=ModelIdentity(name="net"),
        conditions=conditions,
        baseline_accuracy=0.9,
        baseline_loss=0.3,
        rows=measured,
    )


@given(st.lists(rows, max_size=4))
def test_json_round_trip(measured: list[SensitivityRow]) -> None:
    value = file_of(*measured)
    assert Sensitivity.model_validate_json(value.to_json()) == value
    with pytest.raises(ValidationError, match="frozen"):
        value.baseline_loss = 0.1  # type: ignore[misc]


def test_rows_by_layer_and_scheme_keep_their_order() -> None:
    row = SensitivityRow(
        layer="b",
        kind="conv",
        weight_shape=(4, 4),
        scheme=SchemeSpec("filter"),
        density=0.5,
        energy_kept=0.7,
        accuracy=0.8,
        loss=0.4,
    )
    others = [row.model_copy(update=each) for each in ({"scheme": SchemeSpec("column")}, {"layer": "a"})]
    value = file_of(row, *others)
    assert value.of_layers() == {"b": [row, others[0]], "a": [others[1]]}
    assert value.schemes() == [SchemeSpec("filter"), SchemeSpec("column")]


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (lambda text: text[: len(text) // 2], ["Invalid JSON"]),
        (lambda text: text.replace('"version": 1', '"version": 2'), ["version: Input should be 1"]),
        (lambda text: text.replace('"held_out"', '"test"'), ["conditions.split: Input should be 'held_out'"]),
        (
            lambda text: text.replace('"baseline_loss": 0.3', '"baseline_loss": "NaN"').replace("0.9", "1.9"),
            ["baseline_accuracy: Input should be less than or equal to 1", "baseline_loss: Input should be"],
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_every_problem(damage, messages, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(damage(file_of().to_json()))
    with pytest.raises(UserError, match=r"sensitivity: .* is not a valid Sensitivity file") as caught:
        read_json(path, Sensitivity, "sensitivity")
    for message in messages:
        assert message in str(caught.value)
