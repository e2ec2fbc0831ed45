"""Tables and the plot of a sensitivity file."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.core.plan import ModelIdentity
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityConditions, SensitivityRow
from prunemap.errors import UserError
from prunemap.report import check_plot, sensitivity_tables, write_sensitivity_plot
from prunemap.report.sensitivity_plot import NAMED_LAYERS, sensitivity_figure
from tests.unit.report.test_tables import render, words

ACCURACIES = {0.1: 0.3, 0.2: 0.895, 0.4: 0.885, 0.7: 0.9}
SCHEMES = tuple(SchemeSpec.parse(text) for text in ("unstructured", "pattern", "punched:4x1", "block:4x1", "filter"))


def measured(layers: int = 2, schemes: tuple[SchemeSpec, ...] = SCHEMES) -> Sensitivity:
    rows = tuple(
        SensitivityRow(
            layer=f"features.{i}.conv.1.0",
            kind="conv",
            weight_shape=(512, 512, 3, 3),
            scheme=scheme,
            density=density,
            energy_kept=density ** (1 / 2.5) if scheme.name == "filter" else density,
            accuracy=accuracy - 0.2 * (i == 1),
            loss=0.5 + (i + 1) * (1 - density),
        )
        for i in range(layers)
        for scheme in schemes
        for density, accuracy in ACCURACIES.items()
    )
    conditions = SensitivityConditions(weights_sha256="", dataset="stripes", images=400, images_sha256="")
    return Sensitivity(
        model=ModelIdentity(name="net"),
        conditions=conditions,
        baseline_accuracy=0.9,
        baseline_loss=0.5,
        rows=rows,
    )


def test_tables_show_changes_and_how_far_each_layer_can_be_pruned() -> None:
    lines = render(*sensitivity_tables(measured())).splitlines()
    first, second = ([line.split() for line in lines if line.strip().startswith(f"features.{i}")] for i in (0, 1))
    assert first == [
        ["features.0.conv.1.0", "-60.0", "-0.5", "-1.5", "+0.0"],
        ["features.0.conv.1.0", "1.00", *["0.2"] * 5],
    ]
    assert second == [
        ["features.1.conv.1.0", "-80.0", "-20.5", "-21.5", "-20.0"],
        ["features.1.conv.1.0", "2.00", *["–"] * 5],
    ]
    text = "\n".join(lines)
    assert text.rindex("features.1.conv") < text.rindex("features.0.conv"), "the most sensitive layer comes first"
    assert "90.0 % on 400 held-out images (± 1.5)" in words(text)


def test_a_layer_that_cannot_have_a_scheme_leaves_its_cell_empty() -> None:
    value = measured()
    rows = tuple(row for row in value.rows if row.layer.startswith("features.0") or row.scheme == SCHEMES[0])
    text = render(*sensitivity_tables(value.model_copy(update={"rows": rows})))
    assert [line.split() for line in text.splitlines() if "features.1" in line][-1] == [
        "features.1.conv.1.0",
        "2.00",
        "–",
    ]


def test_nothing_measured_is_an_empty_table() -> None:
    assert "sensitivity of net" in render(*sensitivity_tables(measured(0)))


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_plot_is_written_the_same_every_time(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("one", "two"):
        write_sensitivity_plot(measured(), tmp_path / f"{name}.{ending}")
    one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
    assert one == two and len(list(tmp_path.iterdir())) == 2
    if ending == "svg":
        text = one.decode()
        for part in ("features.1.conv.1.0", "punched:4x1", "accuracy on 400 held-out images, %", "net: one layer"):
            assert part in text


def test_panels_and_lines() -> None:
    pytest.importorskip("matplotlib")
    figure = sensitivity_figure(measured(3, SCHEMES[:4]))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [str(scheme) for scheme in SCHEMES[:4]]
    assert all(len(axes.lines) == 3 + 1 for axes in shown), "a line per layer and the dense network's"
    assert list(shown[0].lines[1].get_ydata()) == pytest.approx([100 * (a - 0.2) for a in ACCURACIES.values()])
    many = sensitivity_figure(measured(2 * NAMED_LAYERS + 1, SCHEMES[:1]))
    assert len(many.legends[0].get_texts()) <= NAMED_LAYERS


def test_plots_that_cannot_be_drawn_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"plot: got s\.txt, allowed is a name that ends in \.svg, \.png, \.pdf"):
        check_plot("s.txt")
    monkeypatch.setattr("prunemap.report.sensitivity_plot.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"plot: matplotlib is not installed; pip install 'prunemap\[report\]'"):
        write_sensitivity_plot(measured(), tmp_path / "s.svg")
    assert not list(tmp_path.iterdir())
