"""Engines that need a conversion or an environment of their own: MNN, ncnn, DeepSparse. Rows like those of ENGINES."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from zoo import WORK

from prunemap.benchmarking.engines import Batch, BenchEngine, LoadedEngine, Subject, import_engine
from prunemap.errors import UserError

OLD_OPSET, OLD_IR = 17, 8
"""What DeepSparse 1.8 reads."""


class Peer(LoadedEngine):
    """An engine that also shows what it computes, to be held against ONNX Runtime."""

    @abstractmethod
    def run(self, inputs: Batch) -> list[np.ndarray]:
        """Return the outputs."""

    def time_runs(self, inputs: Batch, runs: int) -> np.ndarray:
        seconds = np.empty(runs)
        for i in range(runs):
            start = perf_counter()
            self.run(inputs)
            seconds[i] = perf_counter() - start
        return seconds


class Mnn(BenchEngine):
    """MNN in fp32; converted by its own ``mnnconvert``."""

    name = "mnn"

    def load(self, subject: Subject) -> Peer:
        return _LoadedMnn(subject)


class _LoadedMnn(Peer):
    def __init__(self, subject: Subject) -> None:
        mnn = import_engine("MNN")
        modules, self._expr = import_engine("MNN.nn"), import_engine("MNN.expr")
        self.version = f"mnn {mnn.version()}"
        converted = WORK / f"{subject.given.stem}.mnn"
        tool = _tool("mnnconvert", None)
        _convert([tool, "-f", "ONNX", "--modelFile", str(subject.given), "--MNNModel", str(converted)], converted)
        model = onnx.load(str(subject.given), load_external_data=False)
        names = [[value.name for value in values] for values in (model.graph.input, model.graph.output)]
        config = {"backend": 0, "numThread": subject.threads, "precision": "high"}
        self._runtime = modules.create_runtime_manager((config,))
        self._module = modules.load_module_from_file(str(converted), *names, runtime_manager=self._runtime)

    def run(self, inputs: Batch) -> list[np.ndarray]:
        given = [self._expr.const(value, value.shape, self._expr.NCHW) for value in inputs.values()]
        return [np.asarray(output.read()) for output in self._module.forward(given)]


class Ncnn(BenchEngine):
    """ncnn in fp32; converted by ``pnnx``."""

    name = "ncnn"

    def __init__(self, pnnx: str | None) -> None:
        self._pnnx = pnnx

    def load(self, subject: Subject) -> Peer:
        return _LoadedNcnn(subject, self._pnnx)


class _LoadedNcnn(Peer):
    def __init__(self, subject: Subject, pnnx: str | None) -> None:
        self._ncnn = import_engine("ncnn")
        self.version = f"ncnn {self._ncnn.__version__}"
        folder = WORK / "ncnn"
        folder.mkdir(parents=True, exist_ok=True)
        stem = str(folder / subject.given.stem.replace("-", "_"))  # pnnx would write it so
        source = Path(f"{stem}.onnx")
        if not source.exists():  # pnnx writes many files beside what it reads
            source.symlink_to(subject.given.resolve())
        _convert([_tool("pnnx", pnnx), str(source), "fp16=0"], Path(f"{stem}.ncnn.bin"))
        self._net = self._ncnn.Net()
        options = self._net.opt
        options.num_threads, options.openmp_blocktime = (
            subject.threads,
            0,
        )  # no thread spins into the next engine's turn
        options.use_fp16_storage = options.use_fp16_packed = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        self._net.load_param(f"{stem}.ncnn.param")
        self._net.load_model(f"{stem}.ncnn.bin")

    def run(self, inputs: Batch) -> list[np.ndarray]:
        extractor = self._net.create_extractor()
        for i, value in enumerate(inputs.values()):
            extractor.input(f"in{i}", self._ncnn.Mat(value[0]))
        return [np.array(extractor.extract("out0")[1])[None]]


class DeepSparse(BenchEngine):
    """DeepSparse 1.8 in a process of another environment; it runs the pruned network."""

    name = "deepsparse"

    def __init__(self, python: str | None) -> None:
        self._python = python

    def load(self, subject: Subject) -> Peer:
        if self._python is None:
            raise UserError(
                "engine deepsparse: it needs an environment of its own with Python 3.11 or older (pip install "
                "deepsparse==1.8.0); name its interpreter with --deepsparse .../bin/python"
            )
        return _LoadedDeepSparse(subject.onnx, subject.threads, self._python)


class _LoadedDeepSparse(Peer):
    def __init__(self, model: Path, threads: int, python: str) -> None:
        self._model, self._threads, self._python = _older(model), threads, python
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="prunemap-")

    def _start(self, inputs: Batch) -> Any:
        """Return the process, started with these inputs the first time."""
        if self._process is None:
            self._inputs, self._outputs = (Path(self._folder.name) / f"{each}.npz" for each in ("in", "out"))
            np.savez(self._inputs, **dict(inputs))
            command = [self._python, str(Path(__file__).with_name("deepsparse_worker.py")), str(self._model)]
            command += [str(self._threads), str(self._inputs), str(self._outputs)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.version = self._read("deepsparse ")
        return self._process

    def _read(self, start: str) -> str:
        """Return the next line that starts so; the engine prints lines of its own."""
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line.strip()
        raise UserError(f"engine deepsparse: its process ended with code {self._process.wait()}")

    def run(self, inputs: Batch) -> list[np.ndarray]:
        self._start(inputs)
        with np.load(self._outputs) as file:
            return [file[name] for name in file.files]

    def time_runs(self, inputs: Batch, runs: int) -> np.ndarray:
        process = self._start(inputs)
        process.stdin.write(f"{runs}\n")
        process.stdin.flush()
        return np.array([float(each) for each in self._read("").split()])

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
        self._folder.cleanup()


def _tool(name: str, given: str | None) -> str:
    """Return a converter's path: given, beside this Python, or on the path."""
    found = given or shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise UserError(f"engine: its converter {name} is not installed; install it with pip install {name}")
    return found


def _convert(command: list[str], output: Path) -> None:
    if output.exists():
        return
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not output.exists():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise UserError(f"engine: {Path(command[0]).name} cannot convert the model: {' '.join(last)}")


def _older(model: Path) -> Path:
    """Return the model with an opset and IR version that older runtimes read."""
    path = WORK / f"{model.stem}-opset{OLD_OPSET}.onnx"
    if path.exists():
        return path
    found = onnx.load(str(model))
    for node in found.graph.node:
        del node.metadata_props[:]
    found = onnx.version_converter.convert_version(found, OLD_OPSET)
    found.ir_version = OLD_IR
    for node in found.graph.node:  # left behind by the conversion, unknown to the older operator
        if node.op_type == "ReduceMean":
            kept = [each for each in node.attribute if each.name != "noop_with_empty_axes"]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.save(found, str(path))
    return path


def peer_rows(options: Mapping[str, str | None]) -> list[BenchEngine]:
    """Return the engines; ``options`` has the paths of ``pnnx`` and of the ``deepsparse`` interpreter."""
    return [Mnn(), Ncnn(options["pnnx"]), DeepSparse(options["deepsparse"])]
