"""Charts of tables and scores as matplotlib figures."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError
from s2cmc.schema import BINARY_NAMES, CLASS_COLORS, CLASS_DIM, MaskClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR_COLOR = "#6f86b9"  # of bars that are about no class
_CLASSES = {mask_class.label: mask_class for mask_class in MaskClass} | {BINARY_NAMES[0]: MaskClass.CLEAR}
_ROW_HEIGHT = 0.28  # inches


def prevalence_chart(prevalence: xr.Dataset) -> "Figure":
    """Draw stacked bars of the percentage of each class by stratum.

    Parameters
    ----------
    prevalence : Dataset (stratum, mask_class)
        Result of `prevalence`.

    Raises
    ------
    CatalogueError
        Without matplotlib; so do all charts.
    """
    names = _plain(prevalence["stratum"].to_numpy())
    figure = _figure(8, len(names))
    panel = figure.subplots()
    left = np.zeros(len(names))
    for mask_class in prevalence[CLASS_DIM].to_numpy():
        width = np.nan_to_num(prevalence["percent"].sel({CLASS_DIM: mask_class}).to_numpy())
        panel.barh(names, width, left=left, color=class_color(_CLASSES[mask_class]), label=mask_class)
        left += width
    panel.invert_yaxis()
    panel.set(xlabel="labelled pixels, %", xlim=(0, 100))
    _legend(figure)
    return figure


def shares_chart(names: Sequence[object], scenes: np.ndarray) -> "Figure":
    """Draw bars of the number of scenes.

    Parameters
    ----------
    names : sequence
        Names of the bars, as many as `scenes`.
    scenes : ndarray (name,), int
    """
    figure = _figure(8, len(names))
    panel = figure.subplots()
    bars = panel.barh(_plain(names), scenes, color=_BAR_COLOR)
    panel.bar_label(bars, padding=3, size=8)
    panel.invert_yaxis()
    panel.set(xlabel="scenes")
    panel.margins(x=0.1)
    return figure


def cooccurrence_chart(cooccurrence: xr.DataArray) -> "Figure":
    """Draw a heat map of the number of scenes that have both of two tags.

    Parameters
    ----------
    cooccurrence : DataArray (tag, other_tag), int
    """
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
    """Draw a score by stratum with its interval, a panel for each class, and the human ceiling as diamonds.

    Parameters
    ----------
    result : Dataset (stratum, mask_class)
        Result of `evaluate`, `agreement` or `compare`. Strata without scenes are left out.
    score : str
        Variable of `result` that has ``_lower`` and ``_upper`` beside it.
    """
    classes = result[CLASS_DIM].to_numpy()
    has_scenes = result["scenes"].max(CLASS_DIM).to_numpy() > 0
    names = _plain(result["stratum"].to_numpy()[has_scenes])
    figure = _figure(10, len(names) + 1)
    panels = figure.subplots(1, len(classes), sharey=True, squeeze=False)[0]
    for panel, mask_class in zip(panels, classes, strict=True):
        at = result.sel({CLASS_DIM: mask_class}).isel(stratum=has_scenes)
        value, low, high = (at[name].to_numpy() for name in (score, f"{score}_lower", f"{score}_upper"))
        color = class_color(_CLASSES[mask_class])
        rows = np.arange(len(names))
        panel.hlines(rows, low, high, color=color, linewidth=3, alpha=0.5)
        panel.plot(value, rows, "o", color=color, label="with interval")
        if f"human_{score}" in at:
            panel.plot(at[f"doubly_{score}"].to_numpy(), rows, "|", color="black", label="on doubly annotated scenes")
            human = at[f"human_{score}"].to_numpy()
            # Hollow, so that the line of the same scenes shows through; black, so that it is taken for no class.
            panel.plot(human, rows, "D", color="black", fillstyle="none", label="other annotator there")
        lowest = -1.02 if "tp" not in result else -0.02  # a comparison is of differences
        panel.set(title=mask_class, xlim=(lowest, 1.02), xlabel=score.upper() if score == "f1" else score)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names, size=8)
    panels[0].invert_yaxis()
    _legend(figure, panels[0])
    return figure


def curve_chart(curve: xr.Dataset, threshold: float) -> "Figure":
    """Draw precision against recall of cloud, a line for each stratum, with a dot at `threshold`.

    Parameters
    ----------
    curve : Dataset (stratum, threshold)
        Result of `precision_recall`. Strata without a defined precision are left out.
    threshold : float
        Probability from which a pixel is cloud.
    """
    figure = _figure(8, 16)
    panel = figure.subplots()
    for name in curve["stratum"].to_numpy():
        at = curve.sel(stratum=name)
        if at["precision"].isnull().all():
            continue
        label = f"{_plain([name])[0]} (average precision {at['average_precision'].item():.3f})"
        (line,) = panel.plot(at["recall"], at["precision"], label=label)
        chosen = at.sel(threshold=threshold, method="nearest")
        panel.plot(chosen["recall"], chosen["precision"], "o", color=line.get_color())
    panel.set(xlabel="recall of cloud", ylabel="precision of cloud", xlim=(0, 1.02), ylim=(0, 1.02))
    panel.grid(alpha=0.3)
    _legend(figure)
    return figure


def class_color(mask_class: MaskClass) -> tuple[float, float, float]:
    """Return the color of a class as matplotlib takes it: red, green and blue, 0 to 1."""
    red, green, blue = CLASS_COLORS[mask_class]
    return red / 255, green / 255, blue / 255


def require_matplotlib() -> None:
    """Refuse to go on without matplotlib.

    Raises
    ------
    CatalogueError
        With the command that installs it.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueError("charts need matplotlib; install it with: pip install 's2cmc[plot]'") from error


def _figure(width: float, rows: int) -> "Figure":
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 1.2 + _ROW_HEIGHT * rows), layout="constrained")


def _plain(names: Iterable[object]) -> list[str]:
    """Escape the dollars in names, which would begin a formula in matplotlib."""
    return [str(name).replace("$", r"\$") for name in names]


def _legend(figure: "Figure", panel: "Axes | None" = None) -> None:
    handles, labels = (panel or figure.axes[0]).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if panel is None else 3, frameon=False)
