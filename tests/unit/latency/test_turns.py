"""Times of steps and anchor are brought to one speed of the machine, and nothing else is smoothed away."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from prunemap.latency.turns import Turn, at_one_speed

TIMES = np.array([3e-5, 1e-5, 2e-5, 4e-5])
ANCHOR = 5e-5
Speeds = NDArray[np.float64]


def turns_at(speeds: Speeds, times: NDArray[np.float64] = TIMES) -> list[Turn]:
    """Return the turns of a machine that runs each run so many times slower than usual, the anchor as what follows.

    Args:
        speeds: (turns, runs).
        times: (steps,) or (turns, runs, steps).
    """
    steps = speeds[..., np.newaxis] * times
    return [Turn(np.full(3, ANCHOR * of_turn[0]), each) for of_turn, each in zip(speeds, steps, strict=True)]


@given(
    arrays(np.float64, (6, 3), elements=st.floats(0.5, 2)),
    st.sampled_from([((0,), (1,), (2,), (3,)), ((0,), (1, 2), (3,))]),
)
def test_a_machine_whose_speed_jumps_says_what_a_steady_one_says(
    speeds: Speeds, groups: tuple[tuple[int, ...], ...]
) -> None:
    steps, anchors = at_one_speed(turns_at(speeds), groups)
    usual = np.median(speeds)
    np.testing.assert_allclose(steps, np.broadcast_to(usual * TIMES, steps.shape))
    np.testing.assert_allclose(anchors, usual * ANCHOR)


def test_a_step_that_varies_alone_is_not_smoothed() -> None:
    own = np.array([[1.0, 2.0], [1.0, 3.0]])
    times = np.broadcast_to(TIMES, (2, 2, 4)).copy()
    times[..., 1] *= own
    steps, _ = at_one_speed(turns_at(np.ones((2, 2)), times), [(0,), (1,), (2,), (3,)])
    np.testing.assert_allclose(steps[:, 1], TIMES[1] * own.ravel())


def test_steps_that_are_most_of_a_run_are_left_as_they_are() -> None:
    speeds = np.array([[1.0, 1.5], [1.0, 1.2]])
    steps, anchors = at_one_speed(turns_at(speeds), [(0, 2, 3), (1,)])
    np.testing.assert_allclose(steps[:, 0], speeds.ravel() * TIMES[0])
    np.testing.assert_allclose(steps[:, 1], np.median(speeds) * TIMES[1])
    np.testing.assert_allclose(anchors, np.median(speeds) * ANCHOR)


def test_a_clock_too_coarse_to_see_a_run_gives_numbers() -> None:
    steps, anchors = at_one_speed(turns_at(np.array([[0.0, 1.0], [1.0, 1.0]])), [(0,), (1,), (2,), (3,)])
    assert steps[0].max() == 0 and np.isfinite(anchors).all()
    np.testing.assert_allclose(steps[1:], np.broadcast_to(TIMES, (3, 4)))
    steps, anchors = at_one_speed(turns_at(np.zeros((2, 2))), [(0,), (1,), (2,), (3,)])
    assert np.isfinite(steps).all() and np.isfinite(anchors).all()
