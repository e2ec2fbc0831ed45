"""Engine: runs a compiled program from Python through the C ABI (``pmap.h``); NumPy in, NumPy out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from math import prod
from numbers import Integral
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.artifact import Manifest, TensorInfo
from prunemap.errors import InternalError, Problems, UserError
from prunemap.runtime.pmap_file import Program, read_program
from prunemap.targets import resolve_target, why_not_here

Array = NDArray[Any]
Inputs = NDArray[Any] | Mapping[str, NDArray[Any]]
ABI = 2
MAX_THREADS = 256
_INT32 = np.iinfo(np.int32)
_POINTER = ctypes.POINTER(ctypes.c_float)


def random_inputs(infos: Iterable[TensorInfo], seed: int = 0) -> dict[str, Array]:
    """Return values for inputs: normal random numbers; 0 or 1 for integers, which are mostly places in something.

    Raises:
        UserError: the seed is negative.
    """
    if seed < 0:
        raise UserError(f"seed: got {seed}, allowed is a whole number from 0")
    rng = np.random.default_rng(seed)
    return {
        info.name: rng.standard_normal(info.shape, dtype=np.float32)
        if info.dtype == "float32"
        else rng.integers(0, 2, info.shape).astype(info.dtype)
        for info in infos
    }


def check_thread_count(threads: int) -> None:
    """Raise ``UserError`` for a number of threads that no engine can have."""
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MAX_THREADS:
        raise UserError(f"threads: got {threads!r}, allowed is a whole number from 1 to {MAX_THREADS}")


def check_run_count(runs: int) -> None:
    """Raise ``UserError`` for a number of runs that cannot be timed."""
    if not isinstance(runs, Integral) or isinstance(runs, bool) or not 0 <= runs <= _INT32.max:
        raise UserError(f"runs: got {runs!r}, allowed is a whole number from 0 to {_INT32.max}")


class Home:
    """The process that an engine was started in. A fork copies the engine, but none of its threads but the caller's."""

    def __init__(self, threads: int) -> None:
        self._process = os.getpid() if threads > 1 else None

    def is_here(self) -> bool:
        """Whether the engine has all its threads in this process."""
        return self._process in (None, os.getpid())

    def check(self) -> None:
        """Raise ``UserError`` in a process that lacks threads of the engine."""
        if not self.is_here():
            raise UserError("engine: its threads are in the process that loaded it; load it again in this process")


class Engine:
    """A loaded program with its own memory and threads.

    Engines are independent of each other. One engine runs for one caller at a time: a second thread waits. One of
    several threads runs in the process that loaded it alone; in a fork of that, load it again.
    """

    def __init__(self, program: Program, threads: int = 1) -> None:
        check_thread_count(threads)
        why = why_not_here(resolve_target(program.manifest.target))
        if why:
            raise UserError(f"artifact: it was compiled for {program.manifest.target}: {why}")
        self.manifest: Manifest = program.manifest
        self.threads = threads
        self._program = program  # keeps the weights alive
        self._home = Home(threads)
        self._lock = Lock()
        self._library = _open_library(program)
        self._handle = self._library.pmap_create(program.aligned_weights.ctypes.data, threads)
        if not self._handle:
            size = program.manifest.arena_bytes
            raise UserError(f"cannot start the program: no memory for {size} bytes, or no {threads} threads")

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Engine:
        """Load a ``.pmap`` of one program. This executes the code in it: load only files that you trust.

        Raises:
            UserError: the file cannot be used here, or threads is not allowed.
        """
        program = read_program(path)
        if not isinstance(program, Program):
            raise UserError(f"artifact: {path} has segments for ONNX Runtime; load it with prunemap.load")
        return cls(program, threads)

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
        """What :meth:`time_slots` times: nodes in graph order, then ``input NAME``, then ``output NAME``."""
        return self.manifest.slots

    def run(self, x: Inputs) -> list[Array]:
        """Run once.

        Args:
            x: array of the input's shape and dtype, or a dict of them by input name.

        Returns:
            The outputs in graph order.

        Raises:
            UserError: a name, shape or dtype does not fit (all problems are listed), the engine was closed, or its
                threads are in another process.
        """
        with _Call(self, x) as call:
            self._library.pmap_run(self._handle, call.inputs, call.outputs)
            return call.results()

    def time_runs(self, x: Inputs, runs: int) -> NDArray[np.float64]:
        """Return the seconds of each of ``runs`` runs, timed inside the program."""
        check_run_count(runs)
        seconds = np.zeros(runs)
        with _Call(self, x) as call:
            self._library.pmap_time_runs(self._handle, call.inputs, call.outputs, runs, seconds.ctypes.data)
        return seconds

    def time_slots(self, x: Inputs, runs: int) -> NDArray[np.float64]:
        """Return seconds of shape (runs, slots), timed inside the program."""
        check_run_count(runs)
        seconds = np.zeros((runs, len(self.slots)))
        with _Call(self, x) as call:
            self._library.pmap_time_slots(self._handle, call.inputs, call.outputs, runs, seconds.ctypes.data)
        return seconds

    def close(self) -> None:
        """Stop the threads and free the memory; using the engine afterwards is an error."""
        if not self._home.is_here():
            return
        with self._lock:
            handle, self._handle = self._handle, None
            if handle:
                self._library.pmap_destroy(handle)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()


class _Call:
    """The argument arrays of one call; holds the engine's lock."""

    def __init__(self, engine: Engine, x: Inputs) -> None:
        self._engine = engine
        self._arrays = [_in_four_bytes(array) for array in checked_inputs(engine.inputs, x)]
        self._results = [np.empty(info.shape, _held_as(info.dtype)) for info in engine.outputs]
        self.inputs = _pointers(self._arrays)
        self.outputs = _pointers(self._results)

    def results(self) -> list[Array]:
        """The outputs in the types that the network promises."""
        infos = self._engine.outputs
        return [array.astype(info.dtype, copy=False) for array, info in zip(self._results, infos, strict=True)]

    def __enter__(self) -> _Call:
        self._engine._home.check()
        self._engine._lock.acquire()
        if not self._engine._handle:
            self._engine._lock.release()
            raise UserError("engine: it was closed")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._engine._lock.release()


def _held_as(dtype: str) -> type[np.float32] | type[np.int32]:
    """How a program holds elements of a type."""
    return np.float32 if dtype == "float32" else np.int32


def _in_four_bytes(array: Array) -> Array:
    return np.ascontiguousarray(array, _held_as(str(array.dtype)))


def _pointers(arrays: list[Array]) -> Any:
    return (_POINTER * len(arrays))(*(array.ctypes.data_as(_POINTER) for array in arrays))


def checked_inputs(infos: tuple[TensorInfo, ...], x: Inputs) -> list[Array]:
    """Return the input arrays in order.

    Raises:
        UserError: a name, shape or dtype does not fit; all problems are listed.
    """
    problems = Problems("input")
    if isinstance(x, np.ndarray):
        if len(infos) != 1:
            raise UserError(f"input: got one array, the network has {len(infos)}: {', '.join(i.name for i in infos)}")
        x = {infos[0].name: x}
    if not isinstance(x, Mapping):
        raise UserError(f"input: got {type(x).__name__}, allowed is an array, or a dict of them by input name")
    for name in x.keys() - {info.name for info in infos}:
        problems.add(f"{name!r} is not an input, allowed are {', '.join(info.name for info in infos)}")
    arrays = []
    for info in infos:
        value = x.get(info.name)
        if value is None:
            problems.add(f"{info.name!r} is missing")
        elif not isinstance(value, np.ndarray) or value.dtype != info.dtype:
            problems.add(f"{info.name!r} is {getattr(value, 'dtype', type(value).__name__)}, allowed is {info.dtype}")
        elif value.shape != info.shape:
            problems.add(f"{info.name!r} has shape {list(value.shape)}, allowed is {list(info.shape)}")
        elif value.dtype == np.int64 and value.size and not _INT32.min <= value.min() <= value.max() <= _INT32.max:
            problems.add(f"{info.name!r} has values that need more than 32 bits")
        else:
            arrays.append(value)
    problems.raise_if_any()
    return arrays


_LOADED: dict[str, Any] = {}
"""Libraries by their hash: what is loaded stays so, and all engines of one program share it."""


def _open_library(program: Program) -> Any:
    try:
        library = _LOADED.get(program.library_sha256)
        if library is None:
            with program.library_file() as file:
                library = ctypes.CDLL(str(file))
        found = library.pmap_abi()
    except (OSError, AttributeError) as error:
        raise InternalError(f"the program's library does not load: {error}") from None
    if found != ABI:
        raise UserError(f"artifact: it speaks ABI {found}, this prunemap speaks {ABI}; compile it again")
    library.pmap_weight_bytes.restype = library.pmap_elements.restype = ctypes.c_int64
    library.pmap_elements.argtypes = [ctypes.c_int32]
    _check_sizes(library, program)
    _LOADED[program.library_sha256] = library
    library.pmap_create.restype = ctypes.c_void_p
    library.pmap_create.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    library.pmap_destroy.argtypes = [ctypes.c_void_p]
    library.pmap_destroy.restype = None
    library.pmap_run.argtypes = [ctypes.c_void_p] * 3
    library.pmap_run.restype = None
    for timed in (library.pmap_time_runs, library.pmap_time_slots):
        timed.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        timed.restype = None
    return library


def _check_sizes(library: Any, program: Program) -> None:
    """The library reads and writes by its own sizes; the manifest must say the same.

    Raises:
        UserError: it does not.
    """
    manifest = program.manifest
    said = [prod(info.shape) for info in (*manifest.inputs, *manifest.outputs)]
    held = [library.pmap_elements(end) for end in range(len(said) + 1)]
    sizes = (program.weights_size, len(manifest.slots))
    if held != [*said, -1] or sizes != (library.pmap_weight_bytes(), library.pmap_slots()):
        raise UserError("artifact: it is damaged: its manifest and weights are not those of its library")
