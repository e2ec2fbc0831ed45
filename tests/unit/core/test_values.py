"""Layers, tables and problems: small values and what they compute."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemap.core.layer import LayerSetting
from prunemap.core.table import by_name, look_up
from prunemap.errors import InternalError, Problems, UnsupportedError, UserError


@dataclass(frozen=True)
class Row:
    name: str


def test_a_table_refuses_two_of_one_name() -> None:
    with pytest.raises(InternalError, match="two table entries are called 'a'"):
        by_name((Row("a"), Row("b"), Row("a")))


def test_look_up_lists_what_there_is() -> None:
    table = by_name((Row("a"), Row("b")))
    assert look_up(table, "b", "row") is table["b"]
    with pytest.raises(UserError, match="row: got 'c', allowed are a, b"):
        look_up(table, "c", "row")


def test_problems_are_shown_together_and_counted() -> None:
    problems = Problems("plan")
    problems.raise_if_any()
    problems.extend(f"problem {n}" for n in range(10))
    with pytest.raises(UserError) as caught:
        problems.raise_if_any()
    lines = str(caught.value).splitlines()
    assert lines[0] == "plan:"
    assert lines[1:3] == ["  - problem 0", "  - problem 1"]
    assert lines[-1] == "  … and 2 more"
    assert len(lines) <= 12


def test_exit_codes_tell_the_user_from_us() -> None:
    assert (UserError.exit_code, UnsupportedError.exit_code, InternalError.exit_code) == (2, 2, 3)


@pytest.mark.parametrize(
    ("setting", "shape", "out_size", "macs"),
    [
        (
            LayerSetting(
                kind="conv",
                in_channels=16,
                out_channels=32,
                kernel=(3, 3),
                stride=(2, 2),
                pads=(1, 1, 1, 1),
                size=(8, 7),
            ),
            (32, 16, 3, 3),
            (4, 4),
            32 * 16 * 9 * 16,
        ),
        (
            LayerSetting(
                kind="depthwise", in_channels=8, out_channels=8, kernel=(3, 3), groups=8, dilation=(2, 1), size=(9, 9)
            ),
            (8, 1, 3, 3),
            (5, 7),
            8 * 9 * 35,
        ),
        (
            LayerSetting(kind="conv", in_channels=4, out_channels=4, kernel=(1, 4), pads=(0, 1, 0, 2), size=(3, 6)),
            (4, 4, 1, 4),
            (3, 6),
            4 * 4 * 4 * 18,
        ),
        (LayerSetting(kind="linear", in_channels=64, out_channels=10), (10, 64), (1, 1), 640),
    ],
)
def test_sizes_of_a_layer(setting: LayerSetting, shape: tuple[int, ...], out_size: tuple[int, int], macs: int) -> None:
    assert setting.weight_shape == shape
    assert setting.out_size == out_size
    assert setting.macs == macs


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 5), st.integers(1, 3), st.integers(5, 40))
def test_a_setting_can_be_a_key_after_json(o: int, i: int, kernel: int, stride: int, size: int) -> None:
    setting = LayerSetting(
        kind="conv", in_channels=i, out_channels=o, kernel=(kernel, 1), stride=(stride, 1), size=(size, size)
    )
    again = LayerSetting.model_validate_json(setting.model_dump_json())
    assert {setting: 1}[again] == 1
