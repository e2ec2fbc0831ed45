"""The HTML report of a run: what it says, what it leaves out, and that it needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from prunemap import pipeline
from prunemap.benchmarking import LayerResult
from prunemap.core.latency_table import LayerTime, NetworkTimes
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import Predictor
from prunemap.pruning.recipes import run as recipe_run
from prunemap.pruning.training.epoch_log import CSV_NAME
from prunemap.report.html import Run, read_run, run_folder, write_report
from prunemap.report.html.energy_charts import energy_figures
from prunemap.report.html.latency_charts import CUT_AT, latency_figures
from prunemap.report.html.layer_rows import layer_rows, predictor_of, shared_times
from prunemap.report.html.page import render
from prunemap.report.html.paths import shown_command
from prunemap.report.html.styles import SCHEME_COLOURS, scheme_styles
from prunemap.schemes import SCHEMES, make_mask
from tests.unit.report.run_folders import (
    DENSE_US,
    DENSITY,
    FILTER,
    HOSTILE,
    PUNCHED,
    demo_folder,
    recipe_folder,
    table_of,
)
from tests.unit.report.test_tables import benched

pytest.importorskip("jinja2")
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The page as a tree is read: fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.tags: dict[str, int] = {}
        self.classes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        values = dict(attrs)
        self.sections += [values["id"] or ""] if tag == "section" else []
        self.classes |= {*(values.get("class") or "").split()}
        assert not {"src", "href", "onclick", "onload"} & set(values), f"<{tag}> refers to something else"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> in {self.open}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def report(run: Path) -> tuple[str, Page]:
    output = run.parent / "report.html"
    write_report(run, output)
    text = output.read_text(encoding="utf-8")
    assert not [each for each in run.parent.iterdir() if each not in (run, output)], "a temporary file is left"
    return text, Page(text)


def test_a_run_of_the_demo_has_every_section(tmp_path: Path) -> None:
    text, page = report(demo_folder(tmp_path / "run"))
    assert page.sections == [
        "headline", "network", "energy", "latency", "sensitivity", "search", "training", "conditions", "reading",
    ]  # fmt: skip
    for part in (
        "resnet8 on stripes", "0.231 ms", "3.47x faster than dense, compiled by prunemap (0.802 ms)",
        "2.82x faster than dense in ONNX Runtime (0.652 ms)", "90.0 %", "dense control: 92.0 %",
        "pruning gives -2.0 points", "400 test images: ± 1.5 points", "40.0 %", "2.50x fewer", "30.0 %",
        "1 kB", "3.00x smaller than dense (3 kB)", "3e-07", "inside the tolerance 0.0001",
    ):  # fmt: skip
        assert part in page.text, part
    for part in ("AMD EPYC", "onnxruntime 1.32.0", "prunemap profile dense.onnx", "3 epochs, batches of 128"):
        assert part in page.text, part
    assert "NaN" not in text and "None" not in page.text and page.tags["svg"] > 10


def test_a_layer_has_all_that_is_known_of_it(tmp_path: Path) -> None:
    run = demo_folder(tmp_path / "run")
    row = next(row for row in layer_rows(read_run(run)) if row.name == "block.a")
    assert row.pruned_us == pytest.approx(6 + 8 * (DENSITY - 0.1) / 0.3), "between the points of the table"
    assert (row.dense_us, row.energy, row.measured_us) == (DENSE_US, 0.615, 10.5)
    _, page = report(run)
    cells = "block.a punched:8x4 10.0 10.5 40.0 25.0 % 61.5 % conv 8x8x3x3 111 k 4.0x faster"
    assert cells in page.text
    assert "block.a: punched:8x4 at 25.0 %, 10.0 µs, 4.0x faster than dense" in page.text
    assert "block.b: dense, 40.0 µs" in page.text, "a layer of the same setting stands in the same chart"


@pytest.mark.parametrize(("density", "shown"), [(0.27, True), (0.255, False)])
def test_densities_that_pruning_made_other_than_the_plan_have_a_column(
    density: float, shown: bool, tmp_path: Path
) -> None:
    run = demo_folder(tmp_path / "run")
    stage = (run / "pruned.json").read_text()
    (run / "pruned.json").write_text(stage.replace(f'"density": {DENSITY}', f'"density": {density}'))
    text = report(run)[0]
    assert ('<th class="number">kept</th>' in text) == shown
    assert (f"<div>{100 * density:.1f} %</div>" in text) == shown


def test_a_layer_behind_lost_filters_is_predicted_by_the_channels_that_are_left(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.plan is not None
    changed = {"block.a": {"scheme": FILTER, "density": 0.1}}
    layers = tuple(each.model_copy(update=changed.get(each.name, {})) for each in run.plan.layers)
    rows = {row.name: row for row in layer_rows(replace(run, plan=run.plan.model_copy(update={"layers": layers})))}
    assert rows["block.b"].scheme == DENSE and rows["block.b"].dense_us == DENSE_US
    assert rows["block.b"].pruned_us == rows["block.a"].pruned_us < DENSE_US, "so many channels as filters"


def test_the_chart_has_a_line_per_scheme_and_a_ring_per_choice(tmp_path: Path) -> None:
    text, page = report(demo_folder(tmp_path / "run"))
    (figure,) = (each for each in text.split("<figure>") if "conv 3x3/1 8→8 at 16x12" in each.partition("</h3>")[0])
    assert figure.count("<polyline") == 3 and figure.count('class="ring"') == 2
    assert 'class="c1 d0 chosen"' in figure, "the line of the chosen scheme is thicker"
    assert "chosen for block.a" in figure and "punched:8x4 at 10.0 %: 6.0 µs" in figure
    assert page.text.count("Numbers, µs") == 5, "a chart per distinct layer"


def test_a_legend_has_the_schemes_that_its_charts_have(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    linear, column = LayerSetting(kind="linear", in_channels=7, out_channels=7), SchemeSpec("column")
    first = run.latency.points[0]
    fc = run.specs[-1].setting
    points = tuple(first.model_copy(update={"setting": s, "scheme": column}) for s in (linear, fc) if s)
    block = first.model_copy(update={"setting": linear, "scheme": SchemeSpec("block", (8, 4))})
    table = run.latency.model_copy(update={"points": (*run.latency.points, *points, block)})
    text = render(replace(run, latency=table))

    def legend(section: str) -> str:
        return Page(text.partition(f'<section id="{section}">')[2].partition("<p ")[0]).text

    assert legend("energy").endswith("dense punched:8x4 filter"), "column is measured of the last layer, never pruned"
    assert legend("latency").endswith("dense punched:8x4 filter column"), "block is of no layer of this network"


def test_the_energy_of_a_layer_is_drawn_against_its_latency_with_the_choice_on_the_curve(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    rows = layer_rows(run)
    figures = energy_figures(run, rows, scheme_styles([DENSE, PUNCHED, FILTER]))
    assert [figure.title for figure in figures] == ["block.a", "block.b", "down"], "neither first, last nor depthwise"
    (layer,) = (layer for layer in run.layers if layer.spec.name == "block.a")
    kept = (layer.weight[make_mask(layer.weight, PUNCHED, DENSITY)] ** 2).sum() / (layer.weight**2).sum()
    assert figures[0].chosen == f"punched:8x4 at 25.0 %: 10.0 µs, {100 * kept:.1f} % of the energy"
    (line,) = (line for line in figures[0].chart.lines if "chosen" in line.style)
    (ring,) = figures[0].chart.marks
    assert (ring.x, ring.y) in line.between and len(line.points) == 2, "the densities measured"
    assert figures[1].chosen == "dense: 40.0 µs, 100.0 % of the energy" and len(figures[1].chart.marks) == 1
    assert HOSTILE in figures[0].reason


def test_the_sensitive_layers_come_first_with_what_they_tolerate(tmp_path: Path) -> None:
    text, page = report(demo_folder(tmp_path / "run"))
    assert "on 500 held-out images, of the dense network 90.0 % (dashed)" in page.text
    assert "layer loss punched:8x4 block.a 0.26 0.5 block.b 0.00 0.1" in page.text
    section = text.partition('<section id="sensitivity">')[2].partition("</section>")[0]
    assert section.index("<h3>block.a") < section.index("<h3>block.b") and section.count('<svg class="chart') == 2
    assert "punched:8x4 at 10.0 %: 60.0 %" in section


def test_a_recurrent_layer_has_the_time_of_the_layers_that_it_is_in_the_plan(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    specs = [spec for layer in ("rnn", "rnn/recurrent") for spec in [linear_spec(layer)]]
    layers = [PlanLayer.of(spec, PUNCHED, DENSITY, "r") for spec in specs]
    slots = [
        LayerResult(name=f"rnn{step}", kernel="k", layer="rnn", median_us=us)
        for step, us in (("/in", 1.5), ("", 9.0), ("/recurrent", 30.0))
    ]
    found = Run(
        folder=run,
        plan=Plan(layers=tuple(layers)),
        specs=tuple(specs),
        latency=table_of(specs, ""),
        benched=benched().model_copy(update={"layers": tuple(slots)}),
    )
    rows = layer_rows(found)
    assert [row.measured_us for row in rows] == [None, None]
    (shared,) = shared_times(found, rows)
    assert (shared.node, shared.dense_us, shared.pruned_us, shared.measured_us) == ("rnn", 80.0, 20.0, 40.5)
    assert shared_times(found, rows[:1]) == []
    words = Page(render(found)).text
    assert "rnn rnn: punched:8x4 at 25.0 %; rnn/recurrent: punched:8x4 at 25.0 % 80.0 20.0 40.5" in words


def linear_spec(name: str) -> LayerSpec:
    setting = LayerSetting(kind="linear", in_channels=32, out_channels=64)
    return LayerSpec(name=name, kind="lstm", weight_shape=(64, 32), macs=2048, params=2048, setting=setting)


def test_layers_of_one_setting_have_rings_of_their_own_on_the_curve(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    row = next(row for row in layer_rows(run) if row.name == "block.a")
    denser = replace(row, name="block.b", density=0.4, pruned_us=14.0)
    styles = scheme_styles([DENSE, PUNCHED, FILTER])
    figures = latency_figures(run.latency, [row, denser, row], styles, Predictor(run.latency))
    (figure,) = figures
    (line,) = (line for line in figure.chart.lines if "chosen" in line.style)
    first, second = figure.chart.marks
    assert (second.x, second.y) == line.points[-1][:2], "what was measured"
    below = max(point for point in line.between if point[0] <= first.x)
    above = min(point for point in line.between if point[0] >= first.x)
    assert above[1] <= first.y <= below[1], "between points the ring is on the curve, which a logarithmic axis bends"


def test_where_the_table_has_the_network_all_curves_are_of_layers_inside_it(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    inside = tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=1.2 * DENSE_US) for spec in run.specs)
    network = NetworkTimes(name="residual", layers=inside, glue=(), runs=5)
    run = replace(run, latency=run.latency.model_copy(update={"networks": (network,)}))
    rows = layer_rows(run)
    row = next(row for row in rows if row.name == "block.a")
    assert (row.dense_us, row.pruned_us) == (pytest.approx(1.2 * DENSE_US), pytest.approx(12.0))
    styles = scheme_styles([DENSE, PUNCHED, FILTER])
    figures = latency_figures(run.latency, rows, styles, predictor_of(run))
    figure = next(each for each in figures if "block.a" in each.chosen[0])
    (line,) = (line for line in figure.chart.lines if "chosen" in line.style and line.style.startswith("c1"))
    assert {(x, y) for x, y, _ in line.points} <= set(line.between), "points on their curve"
    assert energy_figures(run, rows, styles)[0].chosen.startswith("punched:8x4 at 25.0 %: 12.0 µs")
    labels = [label for *_, label in line.points]
    assert labels == ["punched:8x4 at 10.0 %: 7.2 µs", "punched:8x4 at 40.0 %: 16.8 µs"], "not those measured alone"
    assert dict(figure.rows)[str(DENSE)][-1] == "48.0" and dict(figure.rows)[str(PUNCHED)][0] == "7.2"


def test_times_beside_the_curves_are_at_the_speed_of_the_curves(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    faster = {True: {"anchor_us": 50.0, "median_us": DENSE_US / 2}, False: {"anchor_us": 100.0}}
    points = tuple(each.model_copy(update=faster[each.scheme == DENSE]) for each in run.latency.points)
    table = run.latency.model_copy(update={"points": points})
    rows = layer_rows(replace(run, latency=table))
    figure = latency_figures(table, rows, scheme_styles([DENSE, PUNCHED, FILTER]), Predictor(table))[0]
    assert dict(figure.rows)[str(DENSE)][-1] == f"{DENSE_US:.1f}", "while it was measured the machine was twice as fast"
    assert figure.chart.lines[0].points[-1][2] == f"dense at 100.0 %: {DENSE_US:.1f} µs"


def test_curves_far_above_the_dense_latency_are_cut_off(tmp_path: Path) -> None:
    run = read_run(demo_folder(tmp_path / "run"))
    assert run.latency is not None
    styles = scheme_styles([DENSE, PUNCHED, FILTER])
    figure = latency_figures(run.latency, layer_rows(run), styles, Predictor(run.latency))[0]
    assert max(float(tick.label) for tick in figure.chart.y_ticks) <= CUT_AT * 1.05 * DENSE_US
    (filters,) = (line for line in figure.chart.lines if line.style == styles[FILTER])
    assert filters.points[-1][1] < 0, "300 µs lie above the chart"


def test_everything_from_files_is_escaped(tmp_path: Path) -> None:
    text, page = report(demo_folder(tmp_path / "run"))
    assert HOSTILE in page.text and HOSTILE not in text and "script" not in page.tags


@pytest.mark.parametrize("make", [demo_folder, recipe_folder])
def test_the_page_needs_nothing_and_gives_no_place_away(make: object, tmp_path: Path) -> None:
    text, page = report(make(tmp_path / "run"))  # type: ignore[operator]
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", text)
    assert str(tmp_path) not in text and "/data/secret" not in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    defined = set(re.findall(r"\.([a-z]\w*)", text.partition("</style>")[0]))
    assert page.classes - defined == {"key", "d0"}, "a class without a style"


def test_a_recipe_shows_its_seeds_and_the_log_of_an_interrupted_one(tmp_path: Path) -> None:
    _, page = report(recipe_folder(tmp_path / "run"))
    assert page.sections == ["headline", "training", "conditions", "reading"]
    for part in ("net.py:make on stripes", "88.5 ± 0.7 %", "2 seeds: mean", "Accuracy on test images by seed",
                 "seed 0", "seed 1", "MACs kept, %", "c*: punched:8x4 at 25.0 %"):  # fmt: skip
        assert part in page.text, part
    assert page.text.count("accuracy on held-out images, %") == 2
    assert page.text.count("MACs kept, %") == 2, "the log comes before the reports, which have no density"


@pytest.mark.parametrize(
    ("gone", "lacking"),
    [
        (("plan.json",), ("network", "energy")),
        (("latency.json",), ("energy", "latency")),
        (("dense.onnx",), ("energy",)),
        (("sensitivity.json",), ("sensitivity",)),
        (("search.json",), ("search",)),
        (("dense.json", "control.json", "pruned.json"), ("training",)),
    ],
)
def test_what_a_folder_lacks_is_left_out(gone: tuple[str, ...], lacking: tuple[str, ...], tmp_path: Path) -> None:
    run = demo_folder(tmp_path / "run")
    whole = report(run)[1].sections
    for name in gone:
        (run / name).unlink()
    assert report(run)[1].sections == [section for section in whole if section not in lacking]


@pytest.mark.parametrize("name", run_folder.FILES)
def test_one_file_is_enough(name: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    demo_folder(made), recipe_folder(made)
    (source,) = [path for path in (made / name, made / "seed-0" / name) if path.exists()][:1]
    run = tmp_path / "alone" / "run"
    run.mkdir(parents=True)
    (run / name).write_bytes(source.read_bytes())
    assert {"conditions", "reading"} <= set(report(run)[1].sections)


def test_names_of_files_are_those_that_the_stages_write() -> None:
    files = pipeline.DemoFiles(Path())
    assert [files.dense.report.name, files.control.report.name, files.pruned.report.name] == [*run_folder.REPORTS]
    assert (run_folder.LATENCY, run_folder.PLAN) == (pipeline.LATENCY, pipeline.PLAN)
    assert (run_folder.BENCHED, run_folder.VERIFIED) == (pipeline.BENCHED, pipeline.VERIFIED)
    assert (run_folder.RECIPE, run_folder.SUMMARY) == (recipe_run.RECIPE, recipe_run.SUMMARY)
    assert run_folder.LOG == CSV_NAME and recipe_run.PLAN == run_folder.PLAN


def test_every_scheme_has_a_colour_and_every_block_size_dashes() -> None:
    assert set(SCHEME_COLOURS) == set(SCHEMES) and len(set(SCHEME_COLOURS.values())) == len(SCHEMES)
    blocks = [SchemeSpec("punched", block) for block in ((16, 4), (4, 1), (8, 4))]
    styles = scheme_styles([*blocks, DENSE, *blocks])
    assert next(iter(styles)) == DENSE
    assert [styles[block] for block in blocks] == ["c1 d2", "c1 d0", "c1 d1"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("prunemap demo", "prunemap demo"),
        ("prunemap bench {run}/pruned.pmap --vs dense", "prunemap bench pruned.pmap --vs dense"),
        ("x '{run}/a b.onnx' '/home/me too/c.pt' --data=/d/e,f", "x 'a b.onnx' 'c.pt' --data=e,f"),
        ("gcc (/home/me/gcc) 14", "gcc (gcc) 14"),
        ("odd '/home/me/quote", "odd 'quote"),
        ("map runs/x.onnx --layers conv1/Conv", "map runs/x.onnx --layers conv1/Conv"),
    ],
)
def test_commands_name_no_folder_of_this_machine(command: str, shown: str, tmp_path: Path) -> None:
    assert shown_command(command.format(run=tmp_path), tmp_path) == shown


def test_without_jinja2_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.report.html.page.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"report: jinja2 is not installed; pip install 'prunemap\[report\]'"):
        write_report(tmp_path, tmp_path / "r.html")


def test_a_plan_of_another_network_is_refused(tmp_path: Path) -> None:
    run = demo_folder(tmp_path / "run")
    plan = (run / "plan.json").read_text().replace("block.a", "elsewhere").replace('"conv"', '"linear"')
    (run / "plan.json").write_text(plan)
    with pytest.raises(UserError, match="plan: it does not fit this model"):
        write_report(run, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
