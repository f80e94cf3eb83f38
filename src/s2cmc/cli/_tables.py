"""Rich tables of what the command shows: a catalogue, its scenes, fractions of classes, frames."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.table import Table
from rich.text import Text

from s2cmc.query import tag_groups
from s2cmc.schema import CLASS_NAMES, DATASETS, DIFFICULTIES, is_product_id
from s2cmc.store import read_array

if TYPE_CHECKING:
    import zarr


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 scene``, ``2 scenes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def overview(group: "zarr.Group") -> list[Table]:
    """Return two tables of a catalogue as it is stored: facts, and how often each tag is set.

    No Dataset is made of it: with the first one xarray imports dask.array, which takes longer than all else here.
    """
    values = {name: read_array(array, slice(None)) for name, array in group.arrays() if array.ndim == 1}
    return [_facts(values, group.attrs), _tag_frequencies(values)]


def scenes(catalogue: xr.Dataset) -> Table:
    """Return a table with one row for each scene: ID, date, difficulty, cloud, tags."""
    table = Table(title=counted(catalogue.sizes["scene"], "scene"))
    table.add_column("scene", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("diff.", justify="right")
    table.add_column("cloud %", justify="right")
    table.add_column("tags", min_width=18)
    tags = catalogue.clouds.tags
    names = tags["tag"].to_numpy()
    for i, scene in enumerate(catalogue["scene"].to_numpy()):
        table.add_row(
            str(scene),
            np.datetime_as_string(catalogue["time"].to_numpy()[i], unit="D"),
            str(catalogue["difficulty"].to_numpy()[i]),
            f"{catalogue['cloud_percent'].to_numpy()[i]:.1f}",
            ", ".join(names[tags.to_numpy()[i]]),
        )
    return table


def fractions(values: xr.DataArray) -> Table:
    """Return a table of fractions (scene, mask_class) in percent: a row for each scene, and the mean of all."""
    table = Table(title="pixels of each class, %")
    table.add_column("scene", no_wrap=True)
    for name in CLASS_NAMES:
        table.add_column(name, justify="right")
    for scene, row in zip(values["scene"].to_numpy(), values.to_numpy(), strict=True):
        table.add_row(str(scene), *(f"{100 * value:.2f}" for value in row))
    if len(values):
        table.add_section()
        table.add_row(
            f"mean of {counted(len(values), 'scene')}",
            *(f"{100 * value:.2f}" for value in values.mean("scene").to_numpy()),
        )
    return table


def _facts(values: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Table:
    table = Table(title=attributes.get("title"), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("scenes", f"{len(values['scene'])}, in {len(np.unique(values['group']))} independent groups")
    table.add_row("pixels", f"{len(values['y'])} x {len(values['x'])} of 20 m, {len(values['band'])} bands")
    times = values["time"].astype("datetime64[s]")  # a store has seconds since 1970
    table.add_row("time", " to ".join(np.datetime_as_string([times.min(), times.max()], unit="D")))
    table.add_row("datasets", _counts(values["dataset"], DATASETS))
    table.add_row("annotators", _counts(values["annotator"], sorted(set(values["annotator"]))))
    table.add_row("difficulty", _counts(values["difficulty"], DIFFICULTIES))
    table.add_row("shadows marked", str(int(values["shadows_marked"].sum())))
    table.add_row("second mask", str(int(values["has_alt_mask"].sum())))
    for name in ("percentages_agree", "tags_consistent", "shadows_consistent"):
        table.add_row(f"not {name}", str(int((~values[name]).sum())))
    for name in ("converter", "format_version", "license", "doi"):
        if name in attributes:
            table.add_row(name.replace("_", " "), str(attributes[name]))
    return table


def _tag_frequencies(values: Mapping[str, np.ndarray]) -> Table:
    table = Table(title="scenes with each tag")
    table.add_column("question")
    table.add_column("tags")
    for group, names in tag_groups().items():
        table.add_row(group, ", ".join(f"{name} {int(values[name].sum())}" for name in names))
    return table


def _counts(values: np.ndarray, names: Sequence[object]) -> str:
    return ", ".join(f"{name} {int((values == name).sum())}" for name in names)


def frame(rows: pd.DataFrame, title: str) -> Table:
    """Return any frame of text as a table without the index. The first column folds where the terminal is narrow.

    Product IDs in it, which are names of strata, do not fold.
    """
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(rows.columns):
        if i == 0:
            words = (word for cell in rows[name] for word in str(cell).split())
            whole = max((len(word) for word in words if is_product_id(word)), default=0)
            table.add_column(str(name), overflow="fold", min_width=max(10, whole))
        else:
            table.add_column(str(name), justify="right", no_wrap=True)
    for row in rows.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in row))  # names of strata are no markup
    return table
