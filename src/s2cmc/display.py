"""What the command shows of a catalogue, as rich tables."""

import numpy as np
import pandas as pd
import xarray as xr
from rich.table import Table
from rich.text import Text

from s2cmc.schema import CLASS_NAMES, DATASETS, DIFFICULTIES


def counted(number: int, noun: str) -> str:
    """``1 scene``, ``2 scenes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def overview(catalogue: xr.Dataset) -> list[Table]:
    """What a catalogue holds: facts, and how often each tag is set."""
    return [_facts(catalogue), _tag_frequencies(catalogue)]


def scenes(catalogue: xr.Dataset) -> Table:
    """One row for each scene: ID, date, difficulty, cloud, tags."""
    table = Table(title=counted(catalogue.sizes["scene"], "scene"))
    table.add_column("scene", overflow="fold", min_width=20)
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


def fractions(found: xr.DataArray) -> Table:
    """Fractions (scene, mask_class) in percent, one row for each scene, and their mean."""
    table = Table(title="pixels of each class, %")
    table.add_column("scene", overflow="fold", min_width=30)
    for name in CLASS_NAMES:
        table.add_column(name, justify="right")
    for scene, row in zip(found["scene"].to_numpy(), found.to_numpy(), strict=True):
        table.add_row(str(scene), *(f"{100 * value:.2f}" for value in row))
    if len(found):
        table.add_section()
        table.add_row(
            f"mean of {counted(len(found), 'scene')}",
            *(f"{100 * value:.2f}" for value in found.mean("scene").to_numpy()),
        )
    return table


def _facts(catalogue: xr.Dataset) -> Table:
    table = Table(title=catalogue.attrs.get("title"), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    sizes = catalogue.sizes
    table.add_row("scenes", f"{sizes['scene']}, in {len(np.unique(catalogue['group']))} independent groups")
    table.add_row("pixels", f"{sizes['y']} x {sizes['x']} of 20 m, {sizes['band']} bands")
    if sizes["scene"]:
        days = np.datetime_as_string(np.sort(catalogue["time"].to_numpy())[[0, -1]], unit="D")
        table.add_row("time", " to ".join(days))
    table.add_row("datasets", _counts(catalogue["dataset"].to_numpy(), DATASETS))
    table.add_row("annotators", _counts(catalogue["annotator"].to_numpy(), sorted(set(catalogue["annotator"].values))))
    table.add_row("difficulty", _counts(catalogue["difficulty"].to_numpy(), DIFFICULTIES))
    table.add_row("shadows marked", str(int(catalogue["shadows_marked"].sum())))
    table.add_row("second mask", str(int(catalogue["has_alt_mask"].sum())))
    for name in ("percentages_agree", "tags_consistent", "shadows_consistent"):
        table.add_row(f"not {name}", str(int((~catalogue[name]).sum())))
    for name in ("converter", "format_version", "license", "doi"):
        if name in catalogue.attrs:
            table.add_row(name.replace("_", " "), str(catalogue.attrs[name]))
    return table


def _tag_frequencies(catalogue: xr.Dataset) -> Table:
    table = Table(title="scenes with each tag")
    table.add_column("question")
    table.add_column("tags")
    count = catalogue.clouds.tags.sum("scene")
    for group, names in catalogue.clouds.tag_groups.items():
        table.add_row(group, ", ".join(f"{name} {int(count.sel(tag=name))}" for name in names))
    return table


def _counts(values: np.ndarray, names: "tuple[object, ...] | list[object]") -> str:
    return ", ".join(f"{name} {int((values == name).sum())}" for name in names)


def frame(found: pd.DataFrame, title: str) -> Table:
    """Any frame of text, without its index. Its first column folds where the terminal is narrow."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(found.columns):
        if i == 0:
            table.add_column(str(name), overflow="fold", min_width=10)
        else:
            table.add_column(str(name), justify="right", no_wrap=True)
    for row in found.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in row))  # names of strata are no markup
    return table
