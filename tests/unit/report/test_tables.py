"""Every table says what it must, in at most 80 columns, with no figure broken over two lines."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console, RenderableType

from prunemap.benchmarking import (
    BenchResult,
    EngineResult,
    LayerResult,
    NetworkCheck,
    OutputError,
    TableCheck,
    VerifyResult,
)
from prunemap.compiler.fake_sparsity import FakedLayer
from prunemap.core.artifact import KernelChoice, Manifest
from prunemap.core.inspection import InspectedLayer, Inspection, UnsupportedNode
from prunemap.core.latency_table import LatencyPoint, LatencyTable, LayerTime, Machine, NetworkTimes, SlotTime
from prunemap.core.layer import LayerSetting
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.devices import Limits
from prunemap.mapping import MapResult
from prunemap.pruning import PrunedRates
from prunemap.pruning.recipes.summary import SeedResult, summarise
from prunemap.report import (
    bench_table,
    bench_tables,
    check_tables,
    compiled_tables,
    demo_tables,
    inspection_tables,
    latency_tables,
    plan_tables,
    recipe_tables,
    training_table,
    verify_table,
)
from prunemap.report.text import count, milliseconds, size

MACHINE = Machine(cpu="AMD EPYC 9654 96-Core Processor", arch="x86_64", cores=96, system="Linux", target="x86-64-v4")
LONG = "features.17.conv.1.0"
PUNCHED = SchemeSpec("punched", (16, 4))


def render(*tables: RenderableType) -> str:
    console = Console(width=80, file=StringIO(), color_system=None)
    for table in tables:
        console.print(table)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    return text


def words(text: str) -> str:
    """The text on one line: captions are wrapped to the width of their table."""
    return " ".join(text.split())


def verified(error: float = 3e-7) -> VerifyResult:
    output = OutputError(name="output", shape=(1, 1000), max_relative_error=error)
    return VerifyResult(reference="onnxruntime 1.32.0", batches=32, tolerance=1e-4, outputs=(output,))


def benched() -> BenchResult:
    rows = (("prunemap", 0.2311), ("onnxruntime", 0.6517), ("dense", 0.8021))
    return BenchResult(
        results=tuple(
            EngineResult(engine=name, median_ms=ms, p10_ms=ms * 0.99, p90_ms=ms * 1.04, runs=4752) for name, ms in rows
        ),
        max_relative_error=3e-7,
        ratios={"onnxruntime": 2.82, "dense": 3.47},
        machine=MACHINE,
        threads=2,
        pinned_cpus=(0, 1),
        rounds=216,
        seconds=5.0,
        versions={"onnxruntime": "onnxruntime 1.32.0"},
        reference="onnxruntime 1.32.0",
        model="runs/demo/pruned.onnx",
    )


def test_inspect_lists_layers_totals_and_what_is_unsupported() -> None:
    layer = InspectedLayer(
        name=LONG, kind="depthwise", weight_shape=(960, 1, 3, 3), macs=6_553_600, params=8640, density=0.25,
        structure=PUNCHED,
    )  # fmt: skip
    node = UnsupportedNode(name="/head/NonZero", op="NonZero", why="its output has no static shape; export without it")
    text = render(*inspection_tables(Inspection(model="m.onnx", layers=(layer,), unsupported=(node,))))
    for part in (LONG, "depthwise", "960x1x3x3", "6.55 M", "25.0 %", "punched:16x4", "1 layers, 8.64 k weights"):
        assert part in text
    assert "/head/NonZero" in text and "no static shape" in text
    assert "cannot be compiled" not in render(
        *inspection_tables(Inspection(model="m", layers=(layer,), unsupported=()))
    )


def test_plan_shows_every_choice_with_its_reason_and_the_prediction() -> None:
    layers = (
        PlanLayer(name="conv1", kind="conv", weight_shape=(8, 3, 3, 3), scheme=DENSE, density=1.0, reason="first"),
        PlanLayer(
            name=LONG, kind="conv", weight_shape=(8, 8, 3, 3), scheme=PUNCHED, density=0.131,
            reason="7.0x faster than dense (19 µs, whole filters 24 µs); most energy kept: 31%",
        ),
    )  # fmt: skip
    result = MapResult(
        plan=Plan(layers=layers), latency_us=223, dense_latency_us=802, density=0.2, weights_kept=0.26, energy_kept=0.58
    )
    text = render(*plan_tables(result))
    for part in (LONG, "punched:16x4", "13.1 %", "faster than dense", "0.802", "0.223", "3.60x", "20.0 %", "26.0 %"):
        assert part in text


def test_compile_shows_kernels_sizes_and_reasons_only_where_there_are_some(tmp_path: Path) -> None:
    output, source = tmp_path / "m.pmap", tmp_path / "m.onnx"
    output.write_bytes(bytes(420_000))
    source.write_bytes(bytes(1_300_000))

    def manifest(reason: str) -> Manifest:
        choice = KernelChoice(LONG, "f32_conv_16x1", "punched:16x4", 0.131, 34_900, reason)
        return Manifest(
            prunemap="0.1.0", target="x86-64-v4", compiler="clang version 22.1.8", abi=1, inputs=(), outputs=(),
            slots=(), layers=(choice,), source_path=str(source), source_sha256="", arena_bytes=396_000,
        )  # fmt: skip

    text = render(*compiled_tables(manifest("no kernel for this stride"), output))
    for part in (LONG, "f32_conv_16x1", "34.9 k", "420 kB", "1.3 MB", "x86-64-v4", "no kernel for this stride"):
        assert part in text
    assert "why" not in render(*compiled_tables(manifest(""), output))


def test_latency_table_shows_the_fastest_scheme_at_each_density() -> None:
    setting = LayerSetting(kind="conv", in_channels=512, out_channels=512, kernel=(3, 3), size=(14, 14))
    rows = [
        (DENSE, 1.0, 4100.0), (PUNCHED, 0.05, 250.0), (PUNCHED, 0.2, 900.0), (PUNCHED, 0.5, 2100.0),
        (SchemeSpec("pattern"), 0.05, 260.0), (SchemeSpec("pattern"), 0.2, 800.0),
        (SchemeSpec("pattern"), 0.4444, 1900.0), (SchemeSpec("filter"), 0.5, 2000.0),
    ]  # fmt: skip
    points = tuple(
        LatencyPoint(setting=setting, scheme=s, density=d, median_us=us, p10_us=us, p90_us=us, runs=15)
        for s, d, us in rows
    )
    text = render(*latency_tables(LatencyTable(machine=MACHINE, threads=1, points=points)))
    for part in ("4100.0", "250.0, 16.4x", "800.0, 5.1x", "2000.0, 2.0x", "punched:16x4", "pattern", "filter"):
        assert part in text
    assert "density 0.4444" not in text
    assert "8 points; 1 thread, AMD EPYC" in words(text)


def test_a_latency_table_is_shown_at_one_speed_of_the_machine() -> None:
    """Dense and unstructured were measured while it was half as fast: they are not slower than the pattern."""
    setting = LayerSetting(kind="conv", in_channels=8, out_channels=8, kernel=(3, 3), size=(14, 14))
    rows = [
        (DENSE, 1.0, 800.0, 200.0), (SchemeSpec("unstructured"), 0.2, 200.0, 200.0),
        (SchemeSpec("pattern"), 0.2, 160.0, 100.0), (SchemeSpec("filter"), 0.2, 400.0, 100.0),
    ]  # fmt: skip
    points = tuple(
        LatencyPoint(setting=setting, scheme=s, density=d, median_us=us, p10_us=us, p90_us=us, runs=15, anchor_us=a)
        for s, d, us, a in rows
    )
    text = words(render(*latency_tables(LatencyTable(machine=MACHINE, threads=1, points=points))))
    assert "600.0 150.0, 4.0x unstructured" in text  # the median anchor takes 150 µs


def test_a_latency_table_says_what_is_unsteady_in_it() -> None:
    setting = LayerSetting(kind="linear", in_channels=8, out_channels=8)
    wild = LatencyPoint(
        setting=setting, scheme=DENSE, density=1.0, median_us=2, p10_us=1, p90_us=4, runs=15, unstable=True
    )
    table = LatencyTable(machine=MACHINE, threads=1, points=(wild,), notes=("the machine's speed moved",))
    text = words(render(*latency_tables(table)))
    assert "1 points, 1 of them unstable; 1 thread" in text and "the machine's speed moved" in text


def test_networks_that_were_timed_as_wholes_are_shown_at_the_speed_of_the_layers() -> None:
    setting = LayerSetting(kind="linear", in_channels=8, out_channels=8)
    layer = LayerTime(name="fc", setting=setting, median_us=7000)
    network = NetworkTimes(name="net", layers=(layer,), glue=(SlotTime(name="pool", median_us=1000),), runs=3)
    table = LatencyTable(machine=MACHINE, threads=1, networks=(network,))
    (alone,) = latency_tables(table)
    assert "net 8.00 1.00" in words(render(alone))
    point = LatencyPoint(
        setting=setting, scheme=DENSE, density=1.0, median_us=2, p10_us=2, p90_us=2, runs=15, anchor_us=100
    )
    slower = network.model_copy(update={"anchor_us": 200.0})
    _, beside = latency_tables(table.model_copy(update={"points": (point,), "networks": (slower,)}))
    assert "net 4.00 0.500" in words(render(beside))


def test_an_empty_latency_table_renders() -> None:
    assert "0 points" in render(*latency_tables(LatencyTable(machine=MACHINE, threads=1)))


def test_verify_says_whether_it_passed() -> None:
    assert "all inside the tolerance 0.0001; 32 batches" in words(render(verify_table(verified())))
    for error in (0.5, float("inf")):
        text = render(verify_table(verified(error)))
        assert "NOT all inside" in text and f"{error:.2g}" in text


def test_bench_shows_medians_spread_ratios_and_conditions() -> None:
    text = render(bench_table(benched()))
    for part in ("0.231", "0.652", "2.82x", "3.47x", "4752", "2 threads pinned to CPU 0, 1", "216 interleaved rounds"):
        assert part in text
    assert "3e-07" in text


def test_bench_shows_layers_beside_the_limit_and_why_some_run_dense() -> None:
    layers = (
        LayerResult(
            name=LONG, kernel="f32_conv_16x1_i16", structure="punched:16x4", density=0.131, macs_kept=6_553_600,
            median_us=150.0, limit_share=0.754,
        ),
        LayerResult(
            name="fc", kernel="f32_linear_64_i16", structure="dense", density=1.0, macs_kept=1000, median_us=70.0,
            limit_share=0.5, reason="no zeros",
        ),
        LayerResult(name="pool", kernel="MaxPool", median_us=8.0, limit_share=0.2),
    )  # fmt: skip
    limits = Limits(threads=2, peak_flops=117e9, sizes_bytes=(1 << 14, 1 << 28), bandwidths=(233e9, 22e9))
    tables = bench_tables(benched().model_copy(update={"layers": layers, "limits": limits}))
    text = render(*tables)
    for part in (LONG, "conv_16x1", "punched:16x4", "13.1 %", "6.55 M", "150.0", "75 %", "MaxPool", "20 %"):
        assert part in text
    assert "sum of the layers 0.228 ms, the network 0.231 ms: -1.3 % apart" in words(text)
    assert "117 GFLOP/s; copying 233 GB/s at 16 KiB to 22 GB/s at 256 MiB" in words(text)
    assert "no zeros fc" in words(text)
    assert len(tables) == 3 and len(bench_tables(benched())) == 1


def test_bench_adds_up_the_steps_of_a_layer() -> None:
    steps = (("rnn/in", 1.5, None), ("rnn", 20.0, 0.2), ("rnn/recurrent", 80.0, 0.1), ("rnn#8", 3.5, None))
    layers = [
        LayerResult(name=name, kernel="k", density=density, median_us=us, layer="rnn") for name, us, density in steps
    ]
    layers.append(LayerResult(name="fc", kernel="k", density=1.0, median_us=7.0, layer="fc"))
    limits = Limits(threads=2, peak_flops=117e9, sizes_bytes=(1 << 14, 1 << 28), bandwidths=(233e9, 22e9))
    text = words(render(*bench_tables(benched().model_copy(update={"layers": tuple(layers), "limits": limits}))))
    assert "layers of several steps" in text and "rnn 4 100.0 5.0 105.0" in text
    assert "fc 1" not in text, "one step is no sum"


def test_bench_says_what_fake_sparsity_made() -> None:
    block, reason = SchemeSpec("block", (8, 4)), "block is for linear layers and 1x1 convolutions"
    faked = [FakedLayer(name=f"layer{i}", scheme=block, density=0.09 + i / 100) for i in range(5)]
    faked += [FakedLayer(name="conv3", scheme=PUNCHED, density=0.2, reason=reason)]
    text = words(render(*bench_tables(benched().model_copy(update={"faked": tuple(faked)}))))
    assert "block:8x4 5 11.0 %" in text
    assert "punched:16x4 conv3 block is for linear" in text and "20.0 %" in text


def test_demo_ends_in_one_table_with_everything() -> None:
    summary = SimpleNamespace(
        model="resnet8", data="fashion-mnist-subset", test_images=2000, control_accuracy=0.912, pruned_accuracy=0.908,
        conv_macs_kept=0.21, macs_kept=0.22, weights_kept=0.25, dense_pmap_bytes=1_300_000, pruned_pmap_bytes=420_000,
        verify=verified(), bench=benched(),
    )  # fmt: skip
    (table,) = demo_tables(summary)
    text = render(table)
    for part in (
        "91.2 %", "90.8 %", "-0.4 points (±0.6)", "25.0 %", "21.0 %", "1.3 MB", "420 kB", "3.10x smaller",
        "0.802", "0.231", "3.47x faster", "0.652", "prunemap 2.82x faster", "3e-07, on 32 images",
    ):  # fmt: skip
        assert part in text


def test_the_mean_of_the_seeds_has_a_line_of_its_own_also_with_a_control() -> None:
    seeds = [
        SeedResult(seed=seed, dense=0.9 + seed / 100, control=0.9, pruned=0.88, macs_kept=0.2, weights_kept=0.4)
        for seed in (0, 2)
    ]
    rates = PrunedRates(layers=(), density=0.2, macs_kept=0.2, weights_kept=0.4)
    lines = render(*recipe_tables(summarise("resnet20", "cifar10", 10_000, seeds, rates))).splitlines()
    at = next(i for i, line in enumerate(lines) if line.lstrip().startswith("mean"))
    assert words(lines[at]) == "mean 91.0 ± 1.4 90.0 ± 0.0 88.0 ± 0.0 -2.0 ± 0.0 20.0 ± 0.0 40.0 ± 0.0"
    assert not lines[at + 1].strip(), "no cell is broken"


def test_predictions_of_networks_are_at_the_speed_of_their_measurement() -> None:
    network = NetworkCheck(
        network="resnet8", plan="budget", predicted_us=300.0, measured_us=660.0, slots_us=650.0,
        table_anchor_us=50.0, anchor_us=100.0, rounds=7,
    )  # fmt: skip
    check = TableCheck(machine=MACHINE, threads=1, date="", networks=(network,))
    assert "resnet8 budget 0.600 0.660 0.650 100.0 -9.1 %" in words(render(*check_tables(check)))


@pytest.mark.parametrize("retrained", [True, False])
def test_training_shows_accuracies_and_what_is_kept(retrained: bool) -> None:
    report = SimpleNamespace(
        info=SimpleNamespace(model="resnet8", dataset="fashion-mnist-subset"),
        history=SimpleNamespace(epochs=[1, 2, 3]) if retrained else None,
        test_accuracy=0.908, test_images=2000, held_out_accuracy=0.915,
        held_out_accuracy_before=0.42 if retrained else None, weights_kept=0.25, macs_kept=0.22, conv_macs_kept=0.21,
    )  # fmt: skip
    text = render(training_table(report))
    for part in ("90.8 %", "2000 test images", "91.5 %", "25.0 %", "21.0 %"):
        assert part in text
    assert ("42.0 %" in text) == ("epochs" in text) == retrained


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (count(25_502_912), "25.5 M"), (count(4.089e9), "4.09 G"), (count(640), "640"), (size(999), "999 B"),
        (size(486_123), "486 kB"), (milliseconds(0.0312), "0.031"), (milliseconds(26.559), "26.56"),
        (milliseconds(290.4), "290"),
    ],
)  # fmt: skip
def test_figures(text: str, wanted: str) -> None:
    assert text == wanted
