"""The order of the steps: image by image, so that a step finds in cache what the one before it left there.

A tensor that one loop alone names needs memory for the images that the loop runs at once; one that several loops name
is stored for all images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import groupby

from prunemap.compiler.graph.general_shapes import GENERAL_OPS
from prunemap.compiler.graph.ir import Concat, Graph, Linear, Node, Reshape
from prunemap.compiler.lowering.program import CopyInStep, CopyOutStep, CopyStep, ImageLoop, Step, Tensor, TimedStep


@dataclass(frozen=True)
class NodeSteps:
    """A node, what it reads (by the names that tensors have in memory) and the steps that run it."""

    node: Node
    inputs: tuple[str, ...]
    steps: tuple[TimedStep, ...]

    @property
    def names(self) -> set[str]:
        """The tensors in the arena that it has to do with; a concat or a reshape may need no step for them."""
        named = {name for timed in self.steps for name in names_of(timed.step)}
        return named | ({*self.inputs, self.node.output} if isinstance(self.node.op, Concat | Reshape) else set())


def tensors_of(value: object) -> list[Tensor]:
    """Return the tensors that a step, or a part of one, names."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for each in value for tensor in tensors_of(each)]
    if is_dataclass(value):
        return [tensor for each in fields(value) for tensor in tensors_of(getattr(value, each.name))]
    return []


def cut_loops(
    graph: Graph, lowered: Iterable[NodeSteps], outputs: Sequence[str], first_slot: int, rows: Container[str]
) -> tuple[ImageLoop, ...]:
    """Join neighbours that run alike. Linear layers see all images at once, so that they read their weights once.

    The copies of inputs and outputs go to the loop that is the first to have to do with them; those of rows, which are
    copied whole, to the beginning and the end.

    Args:
        outputs: the tensors that the graph's outputs lie in.
        first_slot: of the inputs; those of the outputs follow.
        rows: tensors that are rows.
    """

    def images(each: NodeSteps) -> tuple[int, int]:
        if isinstance(each.node.op, GENERAL_OPS):
            return 1, 1
        count = graph.shapes[each.node.output][0]
        return count, count if isinstance(each.node.op, Linear) else 1

    named = []
    for size, group in groupby(lowered, images):
        nodes = list(group)
        loop = ImageLoop(tuple(step for each in nodes for step in each.steps), *size)
        named.append((loop, set[str]().union(*(each.names for each in nodes))))
    read = {name for _, names in named for name in names}
    maps = [name for name in graph.inputs if name not in rows]
    named += [(ImageLoop((), graph.shapes[name][0], 1), {name}) for name in maps if name not in read]
    ins = _copies(CopyInStep, graph.inputs, first_slot)
    outs = _copies(CopyOutStep, outputs, first_slot + len(ins))
    row_ins, ins = _split(ins, rows)
    row_outs, outs = _split(outs, rows)
    done, seen = list[ImageLoop](), set[str]()
    for loop, names in named:
        new = names - seen
        before, after = _naming(new, ins), _naming(new, outs)
        if any(graph.shapes[names_of(copy.step)[0]][0] != loop.images for copy in (*before, *after)):
            done += [*_one_by_one(graph, before), loop, *_one_by_one(graph, after)]
        else:
            done.append(replace(loop, steps=(*before, *loop.steps, *after)))
        seen |= names
    first, last = (ImageLoop(tuple(steps), 1, 1) for steps in (row_ins, row_outs))
    return tuple(loop for loop in (first, *done, last) if loop.steps)


def _one_by_one(graph: Graph, copies: Iterable[TimedStep]) -> list[ImageLoop]:
    """Return a loop for every copy: the step beside it sees another number of images."""
    return [ImageLoop((copy,), graph.shapes[names_of(copy.step)[0]][0], 1) for copy in copies]


def _split(copies: Iterable[TimedStep], rows: Container[str]) -> tuple[list[TimedStep], list[TimedStep]]:
    """Return the copies of rows, and the others."""
    parts: tuple[list[TimedStep], list[TimedStep]] = ([], [])
    for each in copies:
        parts[names_of(each.step)[0] not in rows].append(each)
    return parts


def _copies(kind: type[CopyStep], tensors: Iterable[str], first_slot: int) -> list[TimedStep]:
    return [TimedStep(kind(Tensor(name), index), first_slot + index) for index, name in enumerate(tensors)]


def _naming(names: set[str], steps: Iterable[TimedStep]) -> list[TimedStep]:
    """Return those of the steps that name one of the tensors."""
    return [timed for timed in steps if not names.isdisjoint(names_of(timed.step))]


@dataclass(frozen=True)
class Stored:
    """For how many images a tensor is stored (1: those of a batch may take turns), and from which step to which."""

    images: int
    first: int
    last: int


def storage(
    loops: Sequence[ImageLoop], root: Callable[[str], str], images_of: Callable[[str], int]
) -> dict[str, Stored]:
    """Return how every tensor in the arena is stored; steps are counted over all loops.

    Args:
        root: the tensor that a tensor is stored inside, or itself.
        images_of: how many images a root holds.
    """
    users = Counter(name for loop in loops for name in {root(name) for name in _names(loop)})
    stored: dict[str, Stored] = {}
    begin = 0
    for loop in loops:
        end = begin + len(loop.steps) - 1
        for index, name in (
            (i, name) for i, timed in enumerate(loop.steps, begin) for name in map(root, names_of(timed.step))
        ):
            takes_turns = users[name] == 1 and loop.at_once < loop.images
            images = 1 if takes_turns else images_of(name)
            first, last = (begin, end) if not takes_turns and loop.at_once < loop.images else (index, index)
            stored[name] = Stored(images, stored[name].first if name in stored else first, last)
        begin = end + 1
    return stored


def _names(loop: ImageLoop) -> set[str]:
    return {name for timed in loop.steps for name in names_of(timed.step)}


def names_of(step: Step) -> list[str]:
    """Return the tensors in the arena that a step names."""
    return [tensor.name for tensor in tensors_of(step) if not tensor.in_scratch]
