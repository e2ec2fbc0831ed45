"""A plot of a sensitivity file: one panel per scheme, one line per layer. Needs matplotlib (the extra ``report``)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prunemap.core.files import check_writable, replacing
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity
from prunemap.errors import UserError

if TYPE_CHECKING:  # matplotlib is optional
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".pdf")
COLUMNS, PANEL_INCHES, DPI = 3, (3.2, 2.7), 150
Colour = tuple[float, float, float, float]
NAMED_LAYERS = 24
"""With more layers than that the legend names some of them; colours go from the first layer to the last."""


def check_plot(path: str | Path) -> None:
    """Check, before long work begins, that a plot can be drawn to ``path``.

    Raises:
        UserError: its ending is none of ``FORMATS``, it cannot be written, or matplotlib is missing.
    """
    if Path(path).suffix not in FORMATS:
        raise UserError(f"plot: got {path}, allowed is a name that ends in {', '.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise UserError("plot: matplotlib is not installed; pip install 'prunemap[report]'")
    check_writable(path)


def write_sensitivity_plot(result: Sensitivity, path: str | Path) -> None:
    """Draw :func:`sensitivity_figure` to a file, whole or not at all.

    Raises:
        UserError: see :func:`check_plot`.
    """
    check_plot(path)
    from matplotlib import rc_context  # noqa: PLC0415 (optional)

    kind = Path(path).suffix.removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with replacing(path) as temporary, rc_context({"svg.hashsalt": "prunemap", "svg.fonttype": "none"}):
        sensitivity_figure(result).savefig(temporary, format=kind, dpi=DPI, bbox_inches="tight", metadata=metadata)


def sensitivity_figure(result: Sensitivity) -> Figure:
    """Return accuracy over density, a panel per scheme, a line per layer; the dashed line is the dense network."""
    from matplotlib import colormaps  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    schemes, layers = result.schemes(), list(result.of_layers())
    columns = max(1, min(COLUMNS, len(schemes)))
    rows = max(1, -(-len(schemes) // columns))
    width, height = PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    shades = colormaps["viridis"]
    colours = {name: shades(0.95 * i / max(1, len(layers) - 1)) for i, name in enumerate(layers)}
    for panel, scheme in zip(panels.flat, schemes, strict=False):
        _draw(panel, result, scheme, colours)
    for panel in panels.flat[len(schemes) :]:
        panel.set_visible(False)
    figure.supxlabel("density of the layer: kept / all weights", fontsize=9)
    figure.supylabel(f"accuracy on {result.conditions.images} held-out images, %", fontsize=9)
    figure.suptitle(f"{result.model.name}: one layer pruned at a time, nothing retrained", fontsize=10)
    _name_layers(figure, colours)
    return figure


def _draw(panel: Axes, result: Sensitivity, scheme: SchemeSpec, colours: Mapping[str, Colour]) -> None:
    for name, rows in result.of_layers().items():
        points = sorted((row.density, 100 * row.accuracy) for row in rows if row.scheme == scheme)
        if points:
            densities, accuracies = zip(*points, strict=True)
            panel.plot(densities, accuracies, color=colours[name], marker="o", markersize=2.5, linewidth=1.2)
    panel.axhline(100 * result.baseline_accuracy, color="0.4", linestyle="--", linewidth=0.8)
    ticks = sorted({row.density for row in result.rows if row.scheme.name != "pattern"}) or [0.1, 1.0]
    panel.set_xscale("log")
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.set_title(str(scheme), fontsize=9)
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.tick_params(labelsize=8, labelbottom=True)


def _name_layers(figure: Figure, colours: Mapping[str, Colour]) -> None:
    """Add the legend on the right, first layer on top; of many layers every so many-th."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 (optional)

    names = list(colours)[:: -(-len(colours) // NAMED_LAYERS) or 1]
    lines = [Line2D([], [], color=colours[name], marker="o", markersize=3, linewidth=1.2) for name in names]
    figure.legend(lines, names, loc="outside right upper", fontsize=7, frameon=False, title="layer", title_fontsize=8)
