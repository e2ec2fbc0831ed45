"""ROW_FUNCTIONS: what a RowOp may do with a row: reductions, softmax, normalising, sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prunemap.compiler.graph.ir import AnyArray, Kind
from prunemap.core.table import by_name

Parameters = tuple[float, ...]


@dataclass(frozen=True)
class RowFunction:
    """A function of rows; ``meaning`` takes an array (rows, n) and returns (rows, m)."""

    name: str
    meaning: Callable[..., AnyArray]
    length: Literal["same", "one", "first parameter"] = "one"
    """m"""
    result: Kind | None = None
    """None = what goes in."""

    def length_of(self, n: int, parameters: Parameters) -> int:
        """Return m for rows of n elements."""
        return {"same": n, "one": 1}.get(self.length) or int(parameters[0])


def _softmax(x: AnyArray) -> AnyArray:
    e = np.exp(x - x.max(-1, keepdims=True))
    result: AnyArray = e / e.sum(-1, keepdims=True)
    return result


def _log_sum_exp(x: AnyArray) -> AnyArray:
    top = x.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    result: AnyArray = np.log(np.exp(x - top).sum(-1, keepdims=True)) + top
    return result


def _normalize(x: AnyArray, epsilon: float) -> AnyArray:
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    result: AnyArray = (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)).astype(np.float32)
    return result


def _arg_best(x: AnyArray, last: float, best: Callable[..., AnyArray]) -> AnyArray:
    n = x.shape[-1]
    found = n - 1 - best(x[:, ::-1], -1) if last else best(x, -1)
    return found.astype(np.int32)[:, None]


def _top(x: AnyArray, k: float, largest: float) -> AnyArray:
    """Places of the k best, the best first; of equal ones the earlier first."""
    keys = -x.astype(np.float64) if largest else x
    return np.argsort(keys, axis=-1, kind="stable")[:, : int(k)].astype(np.int32)


def _cumulative_sum(x: AnyArray, exclusive: float, reverse: float) -> AnyArray:
    y = x[:, ::-1] if reverse else x
    sums = np.cumsum(y, axis=-1, dtype=x.dtype)
    sums = sums - y if exclusive else sums
    return sums[:, ::-1] if reverse else sums


def _keeping(reduce: Callable[..., AnyArray]) -> Callable[[AnyArray], AnyArray]:
    return lambda x: np.asarray(reduce(x, -1, keepdims=True)).astype(x.dtype)


_FUNCTIONS: Sequence[RowFunction] = (
    RowFunction("sum", _keeping(np.sum)),
    RowFunction("mean", _keeping(np.mean)),
    RowFunction("max", _keeping(np.max)),
    RowFunction("min", _keeping(np.min)),
    RowFunction("prod", _keeping(np.prod)),
    RowFunction("l1", lambda x: np.abs(x).sum(-1, keepdims=True)),
    RowFunction("l2", lambda x: np.sqrt((x * x).sum(-1, keepdims=True))),
    RowFunction("sum_square", lambda x: (x * x).sum(-1, keepdims=True)),
    RowFunction("log_sum", lambda x: np.log(x.sum(-1, keepdims=True))),
    RowFunction("log_sum_exp", _log_sum_exp),
    RowFunction("softmax", _softmax, "same"),
    RowFunction("log_softmax", lambda x: x - _log_sum_exp(x), "same"),
    RowFunction("normalize", _normalize, "same"),
    RowFunction("cumulative_sum", _cumulative_sum, "same"),
    RowFunction("argmax", lambda x, last: _arg_best(x, last, np.argmax), result="i32"),
    RowFunction("argmin", lambda x, last: _arg_best(x, last, np.argmin), result="i32"),
    RowFunction("top", _top, "first parameter", "i32"),
)
ROW_FUNCTIONS = by_name(_FUNCTIONS)
"""Parameters: normalize (epsilon); cumulative_sum (exclusive, reverse); argmax, argmin (the last of equals?); top (k,
the largest?)."""
