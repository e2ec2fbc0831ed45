"""How much memory an engine needs: run as a process of its own, so that nothing else is counted.

    python benchmarks/memory.py prunemap|onnxruntime MODEL THREADS

Prints the bytes by which the process has grown when the network is loaded and has run three times: resident pages,
with those of the weights' file where it is mapped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def resident_bytes() -> int:
    """Return the resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def grow_ours(model: str, threads: int) -> int:
    from prunemap.runtime import Engine  # noqa: PLC0415 - counted are not the imports

    before = resident_bytes()
    engine = Engine.load(model, threads)
    inputs = {info.name: np.zeros(info.shape, np.float32) for info in engine.inputs}
    for _ in range(3):
        engine.run(inputs)
    return resident_bytes() - before


def grow_onnxruntime(model: str, threads: int) -> int:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    before = resident_bytes()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shapes = {each.name: [n if isinstance(n, int) else 1 for n in each.shape] for each in session.get_inputs()}
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for _ in range(3):
        session.run(None, inputs)
    return resident_bytes() - before


if __name__ == "__main__":
    kind, model, threads = sys.argv[1:4]
    print({"prunemap": grow_ours, "onnxruntime": grow_onnxruntime}[kind](model, int(threads)))
