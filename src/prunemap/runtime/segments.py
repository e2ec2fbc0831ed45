"""Runs a network in segments: those that are compiled, and those that are left to ONNX Runtime; NumPy between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.artifact import ONNX_RUNTIME, Manifest, Segment, TensorInfo
from prunemap.errors import UserError
from prunemap.runtime.engine import Array, Engine, Home, Inputs, check_run_count, check_thread_count, checked_inputs
from prunemap.runtime.pmap_file import Compiled, Pipeline, Program, read_program

INSTALL = "pip install onnxruntime"


def slot_of(number: int, slot: str) -> str:
    """Return what a slot of a segment's program is called among those of the whole network."""
    return f"{number}: {slot}" if slot.startswith(("input ", "output ")) else slot


def start(program: Compiled, threads: int = 1) -> AnyEngine:
    """Return an engine for a compiled network, whatever it is made of."""
    return Engine(program, threads) if isinstance(program, Program) else SegmentedEngine(program, threads)


def load(path: str | Path, threads: int = 1) -> AnyEngine:
    """Load a ``.pmap``. This executes the code in it: load only files that you trust.

    Raises:
        UserError: the file cannot be used here, threads is not allowed, or ONNX Runtime is needed and not installed.
    """
    return start(read_program(path), threads)


class SegmentedEngine:
    """A loaded pipeline: an :class:`Engine` for each compiled segment, a session of ONNX Runtime for the others.

    It is used like an Engine. Tensors go from one segment to the next as NumPy arrays.
    """

    def __init__(self, pipeline: Pipeline, threads: int = 1) -> None:
        check_thread_count(threads)
        self.manifest: Manifest = pipeline.manifest
        self.threads = threads
        self._home = Home(threads)
        self._lock = Lock()
        self._stages: list[_Stage] = []
        for info, segment in zip(pipeline.manifest.segments, pipeline.segments, strict=True):
            made = _Onnx(info, segment, threads) if isinstance(segment, bytes) else _Ours(info, segment, threads)
            self._stages.append(made)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Names and shapes of the inputs."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Names and shapes of the outputs, in graph order."""
        return self.manifest.outputs

    @property
    def slots(self) -> tuple[str, ...]:
        """What :meth:`time_slots` times: segment by segment, the slots of its program, or the segment as a whole."""
        return self.manifest.slots

    def run(self, x: Inputs) -> list[Array]:
        """Run once; see :meth:`Engine.run`."""
        known = self._named(x)
        with self._lock:
            self._run(known)
        return [known[info.name] for info in self.outputs]

    def time_runs(self, x: Inputs, runs: int) -> NDArray[np.float64]:
        """Return the seconds of each of ``runs`` runs, what passes tensors on included."""
        check_run_count(runs)
        given, seconds = self._named(x), np.zeros(runs)
        with self._lock:
            for i in range(runs):
                known = dict(given)
                began = perf_counter()
                self._run(known)
                seconds[i] = perf_counter() - began
        return seconds

    def time_slots(self, x: Inputs, runs: int) -> NDArray[np.float64]:
        """Return seconds of shape (runs, slots); what passes tensors on between segments is in none of them."""
        check_run_count(runs)
        known = self._named(x)
        with self._lock:
            self._run(known)
            rows = [[stage.time_slots(known) for stage in self._stages] for _ in range(runs)]
        return np.array([np.concatenate(row) for row in rows]).reshape(runs, len(self.slots))

    def close(self) -> None:
        """Stop the threads and free the memory; using the engine afterwards is an error."""
        if not self._home.is_here():
            return
        with self._lock:
            stages, self._stages = self._stages, []
            for stage in stages:
                stage.close()

    def __enter__(self) -> SegmentedEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _named(self, x: Inputs) -> dict[str, Array]:
        self._home.check()
        arrays = checked_inputs(self.inputs, x)
        return {info.name: array for info, array in zip(self.inputs, arrays, strict=True)}

    def _run(self, known: dict[str, Array]) -> None:
        """Run all segments; ``known`` has the inputs and gets everything that a segment makes."""
        if not self._stages:
            raise UserError("engine: it was closed")
        for stage in self._stages:
            known |= stage.run(known)


AnyEngine = Engine | SegmentedEngine


class _Stage(ABC):
    """A segment that is ready to run; ``known`` has what it reads, by name."""

    @abstractmethod
    def run(self, known: Mapping[str, Array]) -> dict[str, Array]:
        """Return what it makes."""

    @abstractmethod
    def time_slots(self, known: Mapping[str, Array]) -> NDArray[np.float64]:
        """Return the seconds of its slots in one run."""

    def close(self) -> None:  # noqa: B027 - a session is freed with its object
        """Free threads and memory."""


class _Ours(_Stage):
    """A compiled segment."""

    def __init__(self, info: Segment, program: Program, threads: int) -> None:
        self._names = [tensor.name for tensor in info.inputs]
        self._engine = Engine(program, threads)

    def run(self, known: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self._engine.run({name: known[name] for name in self._names})
        return {info.name: value for info, value in zip(self._engine.outputs, outputs, strict=True)}

    def time_slots(self, known: Mapping[str, Array]) -> NDArray[np.float64]:
        return self._engine.time_slots({name: known[name] for name in self._names}, 1).reshape(-1)

    def close(self) -> None:
        self._engine.close()


class _Onnx(_Stage):
    """A segment in ONNX Runtime."""

    def __init__(self, info: Segment, model: bytes, threads: int) -> None:
        self._inputs = [tensor.name for tensor in info.inputs]
        self._outputs = [tensor.name for tensor in info.outputs]
        self._session = open_session(model, threads)
        if not {each.name for each in self._session.get_inputs()} <= {*self._inputs}:
            raise UserError(f"artifact: it is damaged: a segment for ONNX Runtime reads more than {self._inputs}")

    def run(self, known: Mapping[str, Array]) -> dict[str, Array]:
        try:
            values = self._session.run(self._outputs, {name: known[name] for name in self._inputs})
        except Exception as error:  # of its own kinds, by what it does not like
            raise UserError(f"fallback: ONNX Runtime fails on a segment: {error}") from None
        return dict(zip(self._outputs, values, strict=True))

    def time_slots(self, known: Mapping[str, Array]) -> NDArray[np.float64]:
        began = perf_counter()
        self.run(known)
        return np.array([perf_counter() - began])


def open_session(model: bytes, threads: int = 1) -> Any:
    """Return a session of ONNX Runtime on the CPU for an ONNX model as it is in a file.

    Raises:
        UserError: ONNX Runtime is not installed, or it refuses the model.
    """
    try:
        ort = import_module(ONNX_RUNTIME)
    except ImportError as error:
        raise UserError(
            f"fallback: parts of the network run in ONNX Runtime, which is not installed ({error}); "
            f"install it with: {INSTALL}"
        ) from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin on after a segment would slow down the next one.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, by what it does not like
        raise UserError(f"fallback: ONNX Runtime {ort.__version__} refuses a segment: {error}") from None
