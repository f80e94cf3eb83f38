"""Pictures of scenes: true-colour composites, and a gallery of scenes with their masks."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.errors import ArgumentError, CatalogueError
from s2cmc.report.charts import class_color
from s2cmc.schema import RGB_NAMES, MaskClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OUTLINED = (MaskClass.CLOUD, MaskClass.CLOUD_SHADOW)


def rgb(reflectance: xr.DataArray, *, gain: float = 1.2, gamma: float = 1.8) -> xr.DataArray:
    """Compose bands B04, B03 and B02 to true colour; see `CloudsAccessor.rgb`.

    Parameters
    ----------
    reflectance : DataArray (..., band)
        Bands B02, B03 and B04 must be neighbours in this order.
    gain, gamma : float
        Brightness is ``clip(gain * reflectance, 0, 1) ** (1 / gamma)``. Both above 0.

    Returns
    -------
    DataArray (..., rgb), float32
        0 to 1; lazy if `reflectance` is.

    Raises
    ------
    ArgumentError
        If `gain` or `gamma` is not above 0.
    CatalogueError
        Without these bands.
    """
    for name, value in (("gain", gain), ("gamma", gamma)):
        if not value > 0:
            raise ArgumentError(f"{name} {value} makes no picture; it must be above 0")
    if "band" not in reflectance.coords:
        raise CatalogueError("a composite needs bands B02, B03 and B04; keep coordinate 'band', which names them")
    if reflectance["band"].ndim != 1:
        raise CatalogueError("a composite needs bands B02, B03 and B04; there is only one")
    try:
        # A slice of neighbours, not a list: dask hands it down to the read, so that only these bands are fetched.
        visible = reflectance.sel(band=slice("B02", "B04"))
    except KeyError as error:
        raise CatalogueError(f"a composite needs bands B02, B03 and B04; there is no {error}") from error
    if visible.sizes["band"] != len(RGB_NAMES):
        raise CatalogueError(
            f"a composite needs bands B02, B03, B04 in this order; there are {reflectance.band.values.tolist()}"
        )
    linear = visible.isel(band=[2, 1, 0]).rename(band="rgb")
    linear = linear.reset_coords(drop=True).assign_coords(rgb=list(RGB_NAMES))
    stretched = (linear * np.float32(gain)).clip(0, 1) ** np.float32(1 / gamma)
    stretched.attrs = {"long_name": f"true colour, ({gain:g} x reflectance) ** (1 / {gamma:g})", "units": "1"}
    return stretched.rename("true_colour")


def gallery(dataset: xr.Dataset, *, columns: int, gain: float, gamma: float, most: int) -> "Figure":
    """Draw scenes in true colour with the outlines of their masks; see `CloudsAccessor.gallery`.

    Parameters
    ----------
    dataset : Dataset
    columns : int
        Panels in a row, at least 1.
    gain, gamma : float
        See `rgb`.
    most : int
        Number of scenes to draw, the first ones; at least 1.

    Raises
    ------
    ArgumentError
        If `columns` or `most` is below 1.
    CatalogueError
        Without scenes, or without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ModuleNotFoundError as error:
        raise CatalogueError("pictures need matplotlib; install it with: pip install 's2cmc[plot]'") from error

    if columns < 1 or most < 1:
        raise ArgumentError(f"columns {columns} and most {most}: a gallery has at least one of both")
    shown = _north_up(dataset.isel(scene=slice(most)))
    count = shown.sizes["scene"]
    if count == 0:
        raise CatalogueError("there is no scene to show; select at least one")
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3 * columns, 3.25 * rows + 0.9), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    composites = rgb(shown["reflectance"], gain=gain, gamma=gamma)
    for panel in panels[count:]:
        panel.set_axis_off()
    for i, panel in enumerate(panels[:count]):
        scene = shown.isel(scene=i)
        composite = composites.isel(scene=i).transpose("y", "x", "rgb")
        _draw(panel, composite.to_numpy(), scene["mask"].transpose("y", "x").to_numpy())
        date = np.datetime_as_string(scene["time"].to_numpy(), unit="D")
        panel.set_title(
            f"{scene['mgrs_tile'].item()}  {date}\ncloud {scene['mask_cloud_percent'].item():.0f} %", size=9
        )
    figure.suptitle(_caption(dataset, count))
    lines = [Line2D([], [], color=class_color(c), label=c.label.replace("_", " ")) for c in _OUTLINED]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9)
    return figure


def _north_up(dataset: xr.Dataset) -> xr.Dataset:
    """Turn the axes of pixels, if need be, so that the first pixel is the one in the north-west."""
    turned = [
        axis
        for axis, index in dataset.indexes.items()
        if len(index) and ((axis == "y" and index[0] < index[-1]) or (axis == "x" and index[0] > index[-1]))
    ]
    return dataset.isel(dict.fromkeys(turned, slice(None, None, -1)))


def _draw(panel: "Axes", composite: np.ndarray, labels: np.ndarray) -> None:
    """Draw a composite (y, x, rgb) and the outlines of its labels (y, x)."""
    panel.imshow(composite)
    for mask_class in _OUTLINED:
        inside = labels == mask_class
        if inside.any() and not inside.all():
            panel.contour(inside, levels=[0.5], colors=[class_color(mask_class)], linewidths=1)
    panel.set_xticks([])
    panel.set_yticks([])


def _caption(dataset: xr.Dataset, shown: int) -> str:
    total = dataset.sizes["scene"]
    number = f"{total} scenes" if shown == total else f"{shown} of {total} scenes"
    return f"{dataset.attrs.get('title', 'Sentinel-2 Cloud Mask Catalogue')}\n{number}"
