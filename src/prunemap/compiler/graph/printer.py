"""A graph as text, one line per node; used in messages and by people who debug a pass."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from prunemap.compiler.graph.ir import Graph, Node


def print_node(node: Node, graph: Graph) -> str:
    """Return ``output shape = Op(fields)(inputs)  # name``."""
    settings = []
    for each in fields(node.op):
        value = getattr(node.op, each.name)
        text = "x".join(map(str, value.shape)) if isinstance(value, np.ndarray) else str(value)
        settings.append(f"{each.name}={text}")
    shape = f" {list(graph.shapes[node.output])}" if node.output in graph.shapes else ""
    call = f"{type(node.op).__name__}({', '.join(settings)})({', '.join(node.inputs)})"
    return f"{node.output}{shape} = {call}  # {node.name}"


def print_graph(graph: Graph) -> str:
    """Return the whole graph."""
    head = [f"{name} {list(graph.shapes[name])} = input" for name in graph.inputs]
    return "\n".join([*head, *(print_node(node, graph) for node in graph.nodes), f"return {', '.join(graph.outputs)}"])
