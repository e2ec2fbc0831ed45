from __future__ import annotations

import sys

import numpy as np
import pytest

from prunemap.benchmarking import VerifyResult, verify
from prunemap.benchmarking.verify import relative_error
from prunemap.errors import UserError


@pytest.fixture(params=["onnxruntime", "onnx.reference"])
def reference(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either reference, the second by hiding the first."""
    if request.param == "onnxruntime":
        pytest.importorskip("onnxruntime")
    else:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    return request.param


def test_the_right_outputs_pass_and_the_reference_is_named(make_engine, onnx_file, reference) -> None:
    result = verify(make_engine(), onnx_file)
    assert result.passed
    assert result.max_relative_error < 1e-6
    assert result.reference.startswith(reference + " ")
    assert [(output.name, output.shape) for output in result.outputs] == [("sum", (1, 3)), ("twice", (1, 3))]


def test_one_wrong_output_fails_and_is_told_apart(make_engine, onnx_file) -> None:
    result = verify(make_engine(lambda y: y * np.float32(1.01)), onnx_file)
    assert not result.passed
    assert result.outputs[0].max_relative_error < 1e-6
    assert result.outputs[1].max_relative_error == pytest.approx(0.01, rel=1e-3)
    assert verify(make_engine(lambda y: y * np.float32(1.01)), onnx_file, tolerance=0.02).passed


@pytest.mark.parametrize("tolerance", [float("nan"), -1.0])
def test_a_tolerance_that_is_none_is_refused(make_engine, onnx_file, tolerance: float) -> None:
    with pytest.raises(UserError, match="tolerance: got"):
        verify(make_engine(), onnx_file, tolerance=tolerance)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_fails_and_survives_json(make_engine, onnx_file, value: float) -> None:
    result = verify(make_engine(lambda y: np.where([[True, False, False]], value, y)), onnx_file, tolerance=1e9)
    assert not result.passed
    assert result.max_relative_error == np.inf
    assert VerifyResult.model_validate_json(result.model_dump_json()) == result


def test_the_largest_error_over_the_batches_counts(make_engine, onnx_file) -> None:
    def wrong_for_large(y: np.ndarray) -> np.ndarray:
        return y + (y > 100).astype(np.float32)

    small = {"left": np.ones((1, 3), np.float32), "right": np.ones((1, 3), np.float32)}
    large = {name: value * 1000 for name, value in small.items()}
    engine = make_engine(wrong_for_large)
    assert verify(engine, onnx_file, [small]).passed
    result = verify(engine, onnx_file, [small, large, small])
    assert (result.passed, result.batches) == (False, 3)
    assert result.max_relative_error == pytest.approx(1 / 2000)


def test_random_inputs_follow_from_the_seed(make_engine, onnx_file) -> None:
    engine = make_engine()
    for seed in (1, 1, 2):
        verify(engine, onnx_file, seed=seed)
    first, again, other = (batch["left"] for batch in engine.batches)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("found", "wanted", "error"),
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.1, 0.0], [0.0, 0.0], np.inf),
        ([1.0, -10.0], [1.5, -10.0], 0.05),
        ([], [], 0.0),
        ([1.0], [1.0, 1.0], np.inf),
        ([1.0], [np.nan], np.inf),
    ],
)
def test_relative_error(found, wanted, error) -> None:
    assert relative_error(np.array(found), np.array(wanted)) == pytest.approx(error)


def test_a_model_of_other_inputs_or_outputs_is_refused(make_engine, onnx_file) -> None:
    engine = make_engine()
    engine.inputs = engine.inputs[:1]
    with pytest.raises(UserError, match="has the inputs left, right, the program has left"):
        verify(engine, onnx_file)
    engine = make_engine()
    engine.outputs = engine.outputs[::-1]
    with pytest.raises(UserError, match="has the outputs sum, twice, the program has twice, sum"):
        verify(engine, onnx_file)


def test_files_that_cannot_be_used_are_named(make_engine, onnx_file, tmp_path) -> None:
    with pytest.raises(UserError, match="reference: no such file"):
        verify(make_engine(), tmp_path / "missing.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(onnx_file.read_bytes()[:40])
    with pytest.raises(UserError, match=r"reference: .*broken\.onnx"):
        verify(make_engine(), broken)


def test_one_array_is_not_enough_for_two_inputs(make_engine, onnx_file) -> None:
    with pytest.raises(UserError, match="got one array, the network has 2 inputs: left, right"):
        verify(make_engine(), onnx_file, [np.ones((1, 3), np.float32)])
