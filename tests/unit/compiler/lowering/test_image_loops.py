"""Image by image: which steps share a loop, and that no image overwrites another one."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

from prunemap.compiler.lowering.concat import find_parts, root_of
from prunemap.compiler.lowering.image_loops import tensors_of
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.lowering.memory import Life
from prunemap.compiler.lowering.program import LoweredProgram
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise
from prunemap.targets import TARGETS
from tests.kernels.cases import make_batch_graph
from tests.networks import residual_network, save

TARGET = TARGETS["x86-64-v4"]


def lower_residual(batch: int, tmp_path: Path) -> LoweredProgram:
    path = save(residual_network(batch), tmp_path / "m.onnx")
    return lower(optimise(import_graph(read_onnx(path))), TARGET)


def test_one_image_runs_straight_through(tmp_path: Path) -> None:
    (loop,) = lower_residual(1, tmp_path).loops
    assert (loop.images, loop.at_once) == (1, 1)


def test_a_batch_runs_image_by_image_up_to_the_linear_layer(tmp_path: Path) -> None:
    one, many = lower_residual(1, tmp_path), lower_residual(8, tmp_path)
    assert [(loop.images, loop.at_once) for loop in many.loops] == [(8, 1), (8, 8)]
    mapped, linear = ([timed.step.symbol for timed in loop.steps] for loop in many.loops)
    assert linear == ["f32_linear", "f32_copy_out"]
    assert mapped + linear == [timed.step.symbol for timed in one.loops[0].steps]
    assert {each.name for each in many.tensors if each.image} == {"globalaveragepool_14_out", "fc_out"}
    assert many.arena_floats < 1.2 * one.arena_floats


def test_no_image_overwrites_another_one_that_is_read_later() -> None:
    """An image of a tensor is alive from the first step that names it to the last one, in the order they run in."""
    graph = make_batch_graph()[0]
    program, parts = lower(graph, TARGET), find_parts(graph)
    turns = [(loop, begin) for loop in program.loops for begin in range(0, loop.images, loop.at_once)]
    steps = [(timed.step, range(begin, begin + loop.at_once)) for loop, begin in turns for timed in loop.steps]
    lives: dict[tuple[str, int], Life] = {}
    for time, (step, images) in enumerate(steps):
        in_arena = [tensor for tensor in tensors_of(step) if not tensor.in_scratch]
        for tensor, image in product(in_arena, images):
            first = lives.get((tensor.name, image), Life("", 0, time, time)).first
            lives[tensor.name, image] = Life(tensor.name, 0, first, time)
    tensors = {each.name: each for each in program.tensors}
    places = {}
    for name, image in lives:
        layout = tensors[name].layout
        start = tensors[name].at + image * tensors[name].image
        places[name, image] = range(start, start + layout.image)
    wholes = {name: tensors[root_of(name, parts)[0]].layout.image for name in tensors}
    assert {each.image // wholes[name] for name, each in tensors.items()} == {0, 1}
    for one, other in combinations(lives, 2):
        if one[1] == other[1] and root_of(one[0], parts)[0] == root_of(other[0], parts)[0]:
            continue  # in one image: one is a part of the other, or both are of a third
        apart = places[one].stop <= places[other].start or places[other].stop <= places[one].start
        assert apart or not lives[one].meets(lives[other]), f"{one} and {other}"
