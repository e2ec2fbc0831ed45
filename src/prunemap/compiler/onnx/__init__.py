"""ONNX files: read, checked, turned into a graph, cut into segments, and rewritten where their weights are pruned."""
