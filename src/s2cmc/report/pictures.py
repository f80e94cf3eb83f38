"""Pictures: true-colour composites and a gallery of scenes with their masks."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc.errors import ArgumentError, CatalogueError
from s2cmc.schema import RGB_NAMES, MaskClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASS_COLOURS = {
    MaskClass.CLEAR: (46, 92, 66),
    MaskClass.CLOUD: (255, 212, 0),
    MaskClass.CLOUD_SHADOW: (255, 47, 168),
}
"""Red, green and blue of each label, 0 to 255."""

_OUTLINED = (MaskClass.CLOUD, MaskClass.CLOUD_SHADOW)


def rgb(reflectance: xr.DataArray, *, gain: float = 1.2, gamma: float = 1.8) -> xr.DataArray:
    """True-colour composite of bands B04, B03, B02; see `CloudsAccessor.rgb`."""
    for name, value in (("gain", gain), ("gamma", gamma)):
        if not value > 0:
            raise ArgumentError(f"{name} {value} makes no picture; it must be above 0")
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
    colour = visible.isel(band=[2, 1, 0]).rename(band="rgb")
    colour = colour.reset_coords(drop=True).assign_coords(rgb=list(RGB_NAMES))
    stretched = (colour * np.float32(gain)).clip(0, 1) ** np.float32(1 / gamma)
    stretched.attrs = {"long_name": f"true colour, ({gain:g} x reflectance) ** (1 / {gamma:g})", "units": "1"}
    return stretched.rename("true_colour")


def gallery(dataset: xr.Dataset, *, columns: int, gain: float, gamma: float, most: int) -> "Figure":
    """Scenes in true colour with the outlines of their masks; see `CloudsAccessor.gallery`."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise CatalogueError("pictures need matplotlib; install it with: pip install 's2cmc[plot]'") from error

    if columns < 1 or most < 1:
        raise ArgumentError(f"columns {columns} and most {most}: a gallery has at least one of both")
    shown = dataset.isel(scene=slice(most))
    count = shown.sizes["scene"]
    if count == 0:
        raise CatalogueError("there is no scene to show; select at least one")
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3 * columns, 3.25 * rows + 0.9), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colour = rgb(shown["reflectance"], gain=gain, gamma=gamma)
    for panel in panels[count:]:
        panel.set_axis_off()
    for i, panel in enumerate(panels[:count]):
        scene = shown.isel(scene=i)
        _draw(panel, colour.isel(scene=i).to_numpy(), scene["mask"].to_numpy())
        date = np.datetime_as_string(scene["time"].to_numpy(), unit="D")
        panel.set_title(
            f"{scene['mgrs_tile'].item()}  {date}\ncloud {scene['mask_cloud_percent'].item():.0f} %", size=9
        )
    figure.suptitle(_caption(dataset, count))
    figure.supxlabel("outlined: cloud yellow, cloud shadow magenta", size=9)
    return figure


def _draw(panel: "Axes", colour: np.ndarray, labels: np.ndarray) -> None:
    panel.imshow(colour)
    for mask_class in _OUTLINED:
        inside = labels == mask_class
        if inside.any() and not inside.all():
            panel.contour(inside, levels=[0.5], colors=[np.array(CLASS_COLOURS[mask_class]) / 255], linewidths=0.7)
    panel.set_xticks([])
    panel.set_yticks([])


def _caption(dataset: xr.Dataset, shown: int) -> str:
    total = dataset.sizes["scene"]
    which = f"{total} scenes" if shown == total else f"{shown} of {total} scenes"
    return f"{dataset.attrs.get('title', 'Sentinel-2 Cloud Mask Catalogue')}\n{which}"
