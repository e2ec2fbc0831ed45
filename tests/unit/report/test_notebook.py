"""Results in notebooks: every result that has tables in the terminal has them as HTML."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from prunemap.benchmarking import EngineResult, TableCheck
from prunemap.compiler import compile_model
from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.shown import Shown
from prunemap.core.value import Value
from prunemap.devices import DeviceList, Facts, Reading
from prunemap.devices.kinds import ListedKind
from prunemap.devices.program import ProgramCheck
from prunemap.latency.check import PointCheck
from prunemap.mapping import MapResult
from prunemap.mapping.search import record  # noqa: F401 (defines a result)
from prunemap.on_device import DeviceBenchResult, DeviceCheck, SustainedResult
from prunemap.on_device.check import Step
from prunemap.on_device.sustained import Window
from prunemap.pruning.recipes import summary  # noqa: F401 (defines results)
from prunemap.report.notebook import TABLES, html_table
from tests.networks import residual_network, save
from tests.unit.report.run_folders import HOSTILE, rates
from tests.unit.report.test_tables import MACHINE, benched, verified


def kinds(kind: type[Shown] = Shown) -> Iterator[type[Shown]]:
    for each in kind.__subclasses__():
        yield each
        yield from kinds(each)


def plan() -> Plan:
    layers = [
        PlanLayer(name="conv1", kind="conv", weight_shape=(8, 3, 3, 3), scheme=DENSE, density=1.0, reason=HOSTILE),
        PlanLayer(
            name="conv2", kind="conv", weight_shape=(8, 8, 3, 3), scheme=SchemeSpec("filter"), density=0.131, reason="f"
        ),
    ]
    return Plan(layers=tuple(layers))


def point_check() -> PointCheck:
    setting = LayerSetting(kind="linear", in_channels=4, out_channels=4)
    return PointCheck(setting=setting, scheme=DENSE, density=1.0, predicted_us=5.0, measured_us=4.0)


def phone() -> ListedKind:
    return ListedKind(
        form="adb:SERIAL", what="a phone", tool="adb", install="install it", installed=False, seen=("emulator-5554",)
    )


THERE: dict[str, Any] = {
    "model": "net.onnx",
    "device": "adb:1",
    "facts": Facts(device="adb:1", arch="aarch64", cpu="Cortex-A78", cpus=()),
    "target": "aarch64",
    "compiler": "zig",
    "threads": 1,
    "pinned_cpus": (),
    "check": ProgramCheck(max_relative_error=1e-6, tolerance=1e-4, passed=True),
    "reference": "onnxruntime",
}


def on_phone() -> DeviceBenchResult:
    times = (("prunemap", 0.5), ("dense", 1.0))
    engines = tuple(EngineResult(engine=name, median_ms=ms, p10_ms=ms, p90_ms=ms, runs=9) for name, ms in times)
    return DeviceBenchResult(
        **THERE,
        tuned=True,
        results=engines,
        ratios={"dense": 2.0},
        rounds=3,
        before=Reading(),
        after=Reading(),
        size_bytes=1000,
    )


def sustained() -> SustainedResult:
    window = Window(at_s=1.0, runs=9, p50_ms=0.5, p99_ms=0.6, frames_per_second=9.0)
    return SustainedResult(**THERE, windows=(window,), p50_ms=0.5, p99_ms=0.6, frames_per_second=9.0)


def test_every_class_with_tables_exists_once() -> None:
    names = [kind.__name__ for kind in kinds() if kind.__module__.startswith("prunemap.")]
    assert {name: names.count(name) for name in TABLES} == dict.fromkeys(TABLES, 1)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (plan(), ("conv1", "filter<br>13.1 %")),
        (
            MapResult(
                plan=plan(), latency_us=223, dense_latency_us=802, density=0.2, weights_kept=0.26, energy_kept=0.58
            ),
            ("conv1", "3.60x", "20.0 %"),
        ),
        (LatencyTable(machine=MACHINE, threads=1), ("0 points; 1 thread, AMD EPYC",)),
        (benched(), ("onnxruntime", "2.82x", "2 threads pinned to CPU 0, 1")),
        (verified(), ("1x1000", "all inside the tolerance 0.0001")),
        (verified(0.5), ("NOT all inside", "0.5")),
        (rates("conv2"), ("punched:8x4", "25.0 %", "61.5 %")),
        (TableCheck(machine=MACHINE, threads=1, date="", densities=(point_check(),)), ("densities not in", "25.0 %")),
        (DeviceList(kinds=(phone(),)), ("adb:SERIAL", "adb: no, install it", "emulator-5554")),
        (DeviceCheck(device="ssh:pi", steps=(Step(name="reach", passed=False, detail="no route"),)), ("no route",)),
        (on_phone(), ("net.onnx on adb:1", "2.00x", "Cortex-A78", "tiles tuned")),
        (sustained(), ("net.onnx on adb:1, sustained", "0.500", "frames/s")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_result_shows_its_tables(value: Value, parts: tuple[str, ...]) -> None:
    html = value._repr_html_()
    assert html is not None and html.count("<table") == html.count("</table>") >= 1
    for part in parts:
        assert part in html
    assert "[/]" not in html and "<script" not in html
    assert type(value).model_validate_json(value.to_json()) == value


def test_a_compiled_program_shows_its_kernels(tmp_path: Path) -> None:
    program = compile_model(save(residual_network(), tmp_path / "net.onnx"), tune=None)
    html = program._repr_html_()
    assert html is not None and "block.a" in html and "working memory" in html and ">size<" not in html


def test_what_is_no_result_has_no_html() -> None:
    assert LayerSetting(kind="linear", in_channels=4, out_channels=4)._repr_html_() is None


def test_a_table_keeps_its_columns_rows_and_styles() -> None:
    table = Table("name", title="\ntitle <&>", caption="a\nb")
    table.add_column("figure", justify="right")
    table.add_row("[red]one[/]", "1", style="bold")
    table.add_row("x" * 50, "2", style="dim")
    html = html_table(table)
    assert "title &lt;&amp;&gt;" in html and "a<br>b" in html
    assert html.count("<tr") == 3 and html.count("<td") == 4 and html.count("<th ") == 2
    assert '<tr style="font-weight: bold">' in html and ">one</td>" in html
    assert html.count("text-align: right") == 3 and html.count("white-space: normal") == 1


def test_values_import_no_report_before_a_notebook_asks() -> None:
    code = (
        "import sys; from prunemap.core.plan import Plan; plan = Plan(layers=());"
        "assert not any(n.startswith('prunemap.report') for n in sys.modules);"
        "assert '<table' in plan._repr_html_() and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
