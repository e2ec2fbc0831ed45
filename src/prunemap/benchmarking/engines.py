"""ENGINES: what is compared. Ours, the same network without structure detection, and third-party engines."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler import Tuning, compile_model, compile_with_fallback
from prunemap.compiler.fake_sparsity import FakedLayer
from prunemap.core.table import by_name
from prunemap.errors import UserError
from prunemap.runtime import AnyEngine, Compiled, start

Batch = Mapping[str, NDArray[np.float32]]
"""The network's inputs by name."""


@dataclass(frozen=True)
class Subject:
    """The network under test and how it is run."""

    onnx: Path
    program: Compiled
    """The compiled network: what the engine ``prunemap`` runs."""
    threads: int
    shapes: Mapping[str, tuple[int, ...]] | None = None
    cc: str | None = None
    dense: Path | None = None
    """The original of a model with fake sparsity; None = ``onnx`` is what was given."""
    faked: tuple[FakedLayer, ...] = ()
    """What fake sparsity made of its layers."""

    @property
    def given(self) -> Path:
        """The ONNX file that was given: what other engines run. Zeros cost them what other weights do."""
        return self.dense or self.onnx

    @property
    def tuning(self) -> Tuning | None:
        """How to compile others of our programs: tuned if this one is."""
        return Tuning(self.threads) if self.program.manifest.tuned else None


class LoadedEngine(ABC):
    """A network loaded into an engine, ready to run."""

    version: str
    """Name and version of the engine."""

    @abstractmethod
    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        """Return the seconds of each of ``runs`` runs, shape (runs,)."""

    def close(self) -> None:  # noqa: B027 - most engines have nothing to free
        """Free threads and memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


class BenchEngine(ABC):
    """A row of ENGINES. Denormals are flushed in all of them."""

    name: ClassVar[str]

    @abstractmethod
    def load(self, subject: Subject) -> LoadedEngine:
        """Load the network with ``subject.threads`` threads.

        Raises:
            UserError: the engine is not installed, or it refuses the network.
        """


class OurEngine(BenchEngine):
    """The compiled network; timed inside C, one with segments around them."""

    name = "prunemap"

    def load(self, subject: Subject) -> LoadedEngine:
        return _LoadedOurs(start(subject.program, subject.threads))


class OurDense(BenchEngine):
    """The same ONNX compiled with structure detection off: zeros are multiplied like any other weight."""

    name = "dense"

    def load(self, subject: Subject) -> LoadedEngine:
        manifest = subject.program.manifest
        compile_ = compile_with_fallback if manifest.segments else compile_model
        program = compile_(
            subject.given,
            target=manifest.target,
            shapes=subject.shapes,
            cc=subject.cc,
            detect=False,
            tune=subject.tuning,
        )
        return _LoadedOurs(start(program, subject.threads))


class OnnxRuntime(BenchEngine):
    """ONNX Runtime on the CPU, all graph optimisations; inputs and outputs are bound once, so a run copies nothing."""

    name = "onnxruntime"

    def load(self, subject: Subject) -> LoadedEngine:
        return LoadedOnnxRuntime(subject.given, subject.threads)


class OpenVino(BenchEngine):
    """OpenVINO on the CPU in fp32, latency mode."""

    name = "openvino"

    def load(self, subject: Subject) -> LoadedEngine:
        return _LoadedOpenVino(subject)


ENGINES: dict[str, BenchEngine] = by_name((OurEngine(), OurDense(), OnnxRuntime(), OpenVino()))


def import_engine(package: str) -> Any:
    """Import a third-party engine.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"engine {package}: it is not installed ({error}); install it with: pip install 'prunemap[bench]'"
        ) from None


class _LoadedOurs(LoadedEngine):
    def __init__(self, engine: AnyEngine) -> None:
        self.version = f"prunemap {engine.manifest.prunemap}"
        self._engine = engine

    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        return self._engine.time_runs(inputs, runs)

    def close(self) -> None:
        self._engine.close()


class LoadedOnnxRuntime(LoadedEngine):
    """An ONNX file in ONNX Runtime; also the reference of verify."""

    def __init__(self, onnx: Path, threads: int = 1) -> None:
        ort = import_engine("onnxruntime")
        self.version = f"onnxruntime {ort.__version__}"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # Threads that spin on after a run would slow down the engine that is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = ort.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"engine onnxruntime: it cannot load {onnx}: {error}") from None

    def run(self, inputs: Batch) -> list[NDArray[np.float32]]:
        """Return the outputs in graph order."""
        outputs: list[NDArray[np.float32]] = self._session.run(None, dict(inputs))
        return outputs

    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        for output in self._session.get_outputs():
            binding.bind_output(output.name)
        return _time(lambda: self._session.run_with_iobinding(binding), runs)


class _LoadedOpenVino(LoadedEngine):
    def __init__(self, subject: Subject) -> None:
        openvino = import_engine("openvino")
        self.version = f"openvino {openvino.__version__}"
        config = {
            "INFERENCE_NUM_THREADS": subject.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        try:
            model = openvino.Core().read_model(str(subject.given))
            model.reshape({info.name: list(info.shape) for info in subject.program.manifest.inputs})
            self._request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
        except Exception as error:
            raise UserError(f"engine openvino: it cannot load {subject.given}: {error}") from None
        self._tensor = openvino.Tensor

    def time_runs(self, inputs: Batch, runs: int) -> NDArray[np.float64]:
        for name, value in inputs.items():
            self._request.set_tensor(name, self._tensor(value, shared_memory=True))
        return _time(self._request.infer, runs)


def _time(run: Callable[[], object], runs: int) -> NDArray[np.float64]:
    seconds = np.empty(runs)
    for i in range(runs):
        start = perf_counter()
        run()
        seconds[i] = perf_counter() - start
    return seconds
