"""Layers, tables and problems: small values and what they compute."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.table import by_name, look_up
from prunemap.core.value import read_json
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
        (LayerSetting(kind="linear", in_channels=64, out_channels=10, size=(1, 20)), (10, 64), (1, 20), 640 * 20),
        (
            LayerSetting(
                kind="conv", in_channels=8, out_channels=4, kernel=(5,), stride=(2,), pads=(2, 1), dilation=(1,),
                groups=2, size=(20,),
            ),
            (4, 4, 5),
            (10,),
            4 * 4 * 5 * 10,
        ),
        (
            LayerSetting(
                kind="conv_transpose", in_channels=8, out_channels=4, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 0, 0),
                size=(7, 9),
            ),
            (4, 8, 3, 3),
            (14, 18),
            4 * 8 * 9 * 63,
        ),
        (LayerSetting(kind="lstm", in_channels=32, out_channels=128, size=(20, 2)), (128, 32), (20, 2), 128 * 32 * 40),
        (LayerSetting(kind="gru", in_channels=32, out_channels=96, size=(20, 1)), (96, 32), (20, 1), 96 * 32 * 20),
    ],
)  # fmt: skip
def test_sizes_of_a_layer(setting: LayerSetting, shape: tuple[int, ...], out_size: tuple[int, ...], macs: int) -> None:
    assert setting.weight_shape == shape
    assert setting.out_size == out_size
    assert setting.macs == macs


def test_layers_that_differ_have_different_names() -> None:
    conv = LayerSetting(kind="conv", in_channels=8, out_channels=8, kernel=(3, 3), pads=(1, 1, 1, 1), size=(1, 8))
    long = LayerSetting(
        kind="conv", in_channels=8, out_channels=8, kernel=(3,), stride=(1,), pads=(1, 1), dilation=(1,), size=(8,)
    )
    gru = LayerSetting(kind="gru", in_channels=32, out_channels=96, size=(20, 1))
    changes: list[dict[str, object]] = [
        {"kind": "conv_transpose"}, {"stride": (1, 2)}, {"stride": (2, 2)}, {"pads": (1, 1, 0, 0)}, {"groups": 2},
        {"dilation": (2, 2)}, {"size": (8, 1)},
    ]  # fmt: skip
    settings = [conv, long, gru, *(conv.model_copy(update=change) for change in changes)]
    settings += [gru.model_copy(update={"size": (20, 2)}), gru.model_copy(update={"reset_after": False})]
    settings += [LayerSetting(kind="linear", in_channels=8, out_channels=8, size=(1, n)) for n in (1, 2)]
    names = list(map(str, settings))
    assert len(set(names)) == len(names), names
    assert names[:3] == ["conv 3x3/1 8→8 at 1x8", "conv 3/1 8→8 at 8", "gru of 32, 20 steps"]
    assert "conv_transpose 3x3/1 8→8 at 1x8" in names and "conv 3x3/1 8→8 at 1x8, 2 groups" in names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "conv", "kernel": [3]}, "allowed are one to three axes, one value each"),
        ({"kind": "conv", "size": [0, 1]}, "allowed are values from 1"),
        ({"kind": "conv", "groups": 3}, "8 and 8 channels: 3 must divide them"),
        ({"kind": "linear", "kernel": [3, 3]}, "linear: allowed are size"),
        ({"kind": "gru", "size": [4, 1]}, "gru: out_channels must be 3 gates of the 8 states"),
        ({"kind": "rnn"}, "Input should be 'conv', 'depthwise'"),
    ],
)
def test_settings_that_cannot_be_are_named_in_the_file(tmp_path: Path, values: dict[str, object], message: str) -> None:
    point = {
        "setting": {"in_channels": 8, "out_channels": 8, **values}, "scheme": "dense", "density": 1,
        "median_us": 1, "p10_us": 1, "p90_us": 1, "runs": 1,
    }  # fmt: skip
    machine = {"cpu": "c", "arch": "a", "cores": 1, "system": "s"}
    path = tmp_path / "latency.json"
    path.write_text(json.dumps({"machine": machine, "threads": 1, "points": [point]}))
    with pytest.raises(UserError, match=re.escape(message)) as error:
        read_json(path, LatencyTable, "latency table")
    assert "points.0.setting" in str(error.value)


def test_tables_written_before_there_were_other_kinds_can_be_read() -> None:
    old = (
        '{"kind":"conv","in_channels":3,"out_channels":64,"kernel":[7,7],"stride":[2,2],"pads":[3,3,3,3],'
        '"dilation":[1,1],"groups":1,"size":[224,224]}'
    )
    wanted = LayerSetting(
        kind="conv", in_channels=3, out_channels=64, kernel=(7, 7), stride=(2, 2), pads=(3, 3, 3, 3), size=(224, 224)
    )
    assert LayerSetting.model_validate_json(old) == wanted
    assert str(wanted) == "conv 7x7/2 3→64 at 224x224"


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 5), st.integers(1, 3), st.integers(5, 40))
def test_a_setting_can_be_a_key_after_json(o: int, i: int, kernel: int, stride: int, size: int) -> None:
    setting = LayerSetting(
        kind="conv", in_channels=i, out_channels=o, kernel=(kernel, 1), stride=(stride, 1), size=(size, size)
    )
    again = LayerSetting.model_validate_json(setting.model_dump_json())
    assert {setting: 1}[again] == 1
