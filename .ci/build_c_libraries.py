"""Export a tiny network to every kind of target: the C library of each is then built for the tests to come."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import TensorProto, helper

EXPORTS = (("exe", "native"), ("exe", "aarch64"), ("web", "wasm32-simd"))

with TemporaryDirectory() as folder:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), Path(folder, "tiny.onnx"))
    for form, target in EXPORTS:
        command = ["export", "tiny.onnx", "--format", form, "--target", target, "--no-tune", "-o", target]
        subprocess.run([sys.executable, "-m", "prunemap", *command], cwd=folder, check=True)
