"""DeepSparse in an environment of its own: it needs an older Python and NumPy than the rest.

    PYTHON_WITH_DEEPSPARSE benchmarks/deepsparse_worker.py MODEL.onnx THREADS INPUTS.npz OUTPUTS.npz

Loads the model, writes what it computes from the inputs, prints its version, then for every line with a number of runs
a line with the seconds of each.
"""

import sys
import time

import deepsparse
import numpy as np


def main() -> None:
    model, threads, inputs, outputs = sys.argv[1:5]
    with np.load(inputs) as file:
        arrays = [file[name] for name in file.files]
    engine = deepsparse.Engine(model, batch_size=len(arrays[0]), num_cores=int(threads))
    np.savez(outputs, *engine.run(arrays))
    print(f"deepsparse {deepsparse.__version__}", flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            engine.run(arrays)
            seconds.append(time.perf_counter() - start)
        print(*seconds, flush=True)


if __name__ == "__main__":
    main()
