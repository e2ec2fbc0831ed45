"""Layer identity: what is mapped from the ONNX file is pruned in the torch module, for every network of the zoo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prunemap.compiler import read_layers
from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.latency import make_probes, probe_settings
from prunemap.mapping import Budget, map_model
from prunemap.models import MODELS, build_model
from prunemap.pruning import export_onnx, prune
from prunemap.schemes import make_mask
from tests.zoo import zoo

SCHEMES = tuple(SchemeSpec.parse(text) for text in ("unstructured", "pattern", "punched:4x2", "block:4x4", "filter"))
DENSITY = 0.4


def invented_table(settings: list) -> LatencyTable:
    """A device on which latency follows the density, and coarse schemes are a little faster."""
    points = []
    for probe in make_probes(settings, SCHEMES, (0.1, 0.5)):
        slower = 1.0 if probe.scheme == DENSE else 1.2 - 0.04 * SCHEMES.index(probe.scheme)
        us = 1 + probe.setting.macs / 1e4 * probe.density * slower
        values = {"median_us": us, "p10_us": us, "p90_us": us, "runs": 1}
        points.append(LatencyPoint(setting=probe.setting, scheme=probe.scheme, density=probe.density, **values))
    machine = Machine(cpu="invented", arch="none", cores=1, system="none")
    return LatencyTable(machine=machine, threads=1, points=tuple(points))


@pytest.mark.parametrize("name", zoo("resnet20", "mobilenetv2-cifar"))
def test_a_plan_made_from_the_onnx_prunes_the_module(name: str, tmp_path: Path) -> None:
    size = 224 if name == "vgg16" else min(MODELS[name].input_size, 32)  # its linear layers need their 7x7 map
    shape = (3, size, size)
    width = 0.06 if name == "vgg16" else 0.25
    module = build_model(name, shape, classes=10, options={"width": width}).eval()
    example = torch.zeros(1, *shape)
    export_onnx(module, example, tmp_path / "dense.onnx")
    layers = read_layers(tmp_path / "dense.onnx")
    table = invented_table(probe_settings(layer.spec.setting for layer in layers))
    plan = map_model(tmp_path / "dense.onnx", table, Budget(density=DENSITY)).plan

    modules = dict(module.named_modules())
    weights = {layer.module: modules[layer.module].weight.detach().numpy().copy() for layer in plan.layers}
    assert [layer.spec.module for layer in layers] == [layer.module for layer in plan.layers] and "" not in weights
    masks = prune(module, plan, example)

    pruned = [layer for layer in plan.layers if layer.scheme != DENSE]
    assert pruned and set(masks) == {layer.module for layer in pruned}
    for layer in plan.layers:
        before, after = weights[layer.module], modules[layer.module].weight.detach().numpy()
        expected = before * make_mask(before, layer.scheme, layer.density)
        np.testing.assert_array_equal(after, expected, err_msg=layer.module)
