"""Charts of tables and scores, by matplotlib."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.schema import CLASS_DIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASS_COLOURS = {
    "clear": "#7aa874",
    "non_cloud": "#7aa874",
    "cloud": "#6f86b9",
    "cloud_shadow": "#4a4a4a",
}
_HUMAN = "#c2571a"
_ROW = 0.28  # inches


def prevalence_chart(prevalence: xr.Dataset) -> "Figure":
    """Stacked bars of the percentage of each class by stratum."""
    names = _plain(prevalence["stratum"].to_numpy())
    figure = _figure(8, len(names))
    panel = figure.subplots()
    left = np.zeros(len(names))
    for mask_class in prevalence[CLASS_DIM].to_numpy():
        width = np.nan_to_num(prevalence["percent"].sel({CLASS_DIM: mask_class}).to_numpy())
        panel.barh(names, width, left=left, color=CLASS_COLOURS[mask_class], label=mask_class)
        left += width
    panel.invert_yaxis()
    panel.set(xlabel="labelled pixels, %", xlim=(0, 100))
    _legend(figure)
    return figure


def shares_chart(names: Sequence[object], scenes: np.ndarray, colour: str = "#6f86b9") -> "Figure":
    """Bars of the number of scenes."""
    figure = _figure(8, len(names))
    panel = figure.subplots()
    bars = panel.barh(_plain(names), scenes, color=colour)
    panel.bar_label(bars, padding=3, size=8)
    panel.invert_yaxis()
    panel.set(xlabel="scenes")
    panel.margins(x=0.1)
    return figure


def cooccurrence_chart(cooccurrence: xr.DataArray) -> "Figure":
    """Heat map of the scenes that have both of two tags."""
    names = cooccurrence["tag"].to_numpy()
    figure = _figure(9, 27)
    panel = figure.subplots()
    image = panel.imshow(cooccurrence.to_numpy(), cmap="Blues", norm="symlog")
    panel.set_xticks(range(len(names)), names, rotation=90, size=8)
    panel.set_yticks(range(len(names)), names, size=8)
    half = cooccurrence.to_numpy().max() ** 0.5
    for (row, column), value in np.ndenumerate(cooccurrence.to_numpy()):
        panel.text(column, row, value, ha="center", va="center", size=6, color="white" if value > half else "black")
    figure.colorbar(image, ax=panel, label="scenes", shrink=0.6)
    return figure


def scores_chart(result: xr.Dataset, score: str = "f1") -> "Figure":
    """One panel for each class: a score by stratum with its interval, and the human ceiling as a diamond."""
    classes = result[CLASS_DIM].to_numpy()
    there = result["scenes"].max(CLASS_DIM).to_numpy() > 0
    names = _plain(result["stratum"].to_numpy()[there])
    figure = _figure(10, len(names) + 1)
    panels = figure.subplots(1, len(classes), sharey=True, squeeze=False)[0]
    for panel, mask_class in zip(panels, classes, strict=True):
        at = result.sel({CLASS_DIM: mask_class}).isel(stratum=there)
        value, low, high = (at[name].to_numpy() for name in (score, f"{score}_lower", f"{score}_upper"))
        rows = np.arange(len(names))
        panel.hlines(rows, low, high, color=CLASS_COLOURS[mask_class], linewidth=3, alpha=0.5)
        panel.plot(value, rows, "o", color=CLASS_COLOURS[mask_class], label="with interval")
        if f"human_{score}" in at:
            panel.plot(at[f"doubly_{score}"].to_numpy(), rows, "|", color="black", label="on doubly annotated scenes")
            panel.plot(at[f"human_{score}"].to_numpy(), rows, "D", color=_HUMAN, label="other annotator there")
        lowest = -1.02 if "tp" not in result else -0.02  # a comparison is of differences
        panel.set(title=mask_class, xlim=(lowest, 1.02), xlabel=score.upper() if score == "f1" else score)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names, size=8)
    panels[0].invert_yaxis()
    _legend(figure, panels[0])
    return figure


def curve_chart(curve: xr.Dataset, threshold: float) -> "Figure":
    """Precision against recall of cloud, one line for each stratum, with a dot at `threshold`."""
    figure = _figure(8, 16)
    panel = figure.subplots()
    for name in curve["stratum"].to_numpy():
        at = curve.sel(stratum=name)
        if at["precision"].isnull().all():
            continue
        label = f"{_plain([name])[0]} (average precision {at['average_precision'].item():.3f})"
        (line,) = panel.plot(at["recall"], at["precision"], label=label)
        here = at.sel(threshold=threshold, method="nearest")
        panel.plot(here["recall"], here["precision"], "o", color=line.get_color())
    panel.set(xlabel="recall of cloud", ylabel="precision of cloud", xlim=(0, 1.02), ylim=(0, 1.02))
    panel.grid(alpha=0.3)
    _legend(figure)
    return figure


def require_matplotlib() -> None:
    """Refuse to go on without matplotlib.

    Raises
    ------
    CatalogueError
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueError("charts need matplotlib; install it with: pip install 's2cmc[plot]'") from error


def _figure(width: float, rows: int) -> "Figure":
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 1.2 + _ROW * rows), layout="constrained")


def _plain(names: Iterable[object]) -> list[str]:
    """Names as matplotlib shows them unchanged: a dollar begins no formula."""
    return [str(name).replace("$", r"\$") for name in names]


def _legend(figure: "Figure", panel: "Axes | None" = None) -> None:
    handles, labels = (panel or figure.axes[0]).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if panel is None else 3, frameon=False)
