"""What grows with the number of scenes, up to a million: stores of real metadata and coordinates, without pixels.

``python benchmarks/scale.py [SCENES ...]`` prints a table; each store is made and asked in processes of its own, so
that peaks of memory are its own. Nothing computes, so that no shard need be there.
"""

import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import s2cmc
from s2cmc.conversion.layout.arrays import array_objects, pixel_arrays, store_objects
from s2cmc.conversion.source.checks import count_extremes, count_labels
from s2cmc.conversion.source.coordinates import (
    geo_coordinates,
    product_coordinates,
    quality_coordinates,
    table_coordinates,
)
from s2cmc.conversion.targets.journal import Target
from s2cmc.schema.geometry import OUTLINE_MARGIN
from s2cmc.schema.products import Product
from s2cmc.store.format import ROOT
from s2cmc.synthetic.make import make_outline
from s2cmc.synthetic.table import sample_table

SCENES = (513, 5_130, 51_300, 513_000, 1_000_000)
SIZE = 1022
_KNOWN = 513  # rows that are repeated
_FINDINGS = {
    "mask": count_labels(np.zeros((SIZE, SIZE), "uint8")),
    "reflectance": count_extremes(np.ones((8, 8, 13), "uint16")),
}


def table_of(scenes: int) -> pd.DataFrame:
    """Rows of a sample table again and again, their products seconds apart."""
    known = sample_table(min(scenes, _KNOWN))
    table = known.iloc[np.arange(scenes) % len(known)].reset_index(drop=True)
    began = datetime(2018, 1, 1)
    table["scene"] = [
        f"{product[:11]}{began + timedelta(seconds=31 * i):%Y%m%dT%H%M%S}{product[26:]}"
        for i, product in enumerate(table["scene"])
    ]
    return table.assign(index=np.arange(scenes))


def timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """What `work` gives; its time goes into `seconds`."""
    began = time.perf_counter()
    found = work()
    seconds[name] = time.perf_counter() - began
    return found


def make_store(folder: Path, scenes: int) -> dict[str, float]:
    """Write a store without shards; seconds of each step of making its metadata."""
    spent: dict[str, float] = {}
    table = table_of(scenes)
    products = timed(spent, "parse IDs", lambda: [Product.parse(scene) for scene in table["scene"]])
    known = min(scenes, _KNOWN)
    outlines = [make_outline(scene, SIZE, 0) for scene in table["scene"][:known]]
    geo = timed(spent, "bounds", lambda: geo_coordinates(outlines, [OUTLINE_MARGIN] * known))
    spent["bounds"] *= scenes / known  # so many again, each by itself
    coordinates = timed(spent, "coordinates", lambda: table_coordinates(table) | product_coordinates(products))
    coordinates |= {name: np.resize(values, scenes) for name, values in geo.items()}
    findings = [_FINDINGS] * scenes
    coordinates |= timed(
        spent, "quality", lambda: quality_coordinates(table, findings, SIZE**2, has_thumbnail=[True] * scenes)
    )
    arrays = pixel_arrays(
        *(scenes, (SIZE, SIZE)),
        reflectance="uint16",
        mask_dtype="bool",
        alt_mask_dtype="bool",
        thumbnail=(SIZE // 2, SIZE // 2),
    )
    attributes = {"format": "s2cmc", "format_version": s2cmc.schema.FORMAT_VERSION}
    digests = {array.key(first): "0" * 64 for array in arrays.values() for first, _ in array.spans()}
    objects = timed(spent, "encode", lambda: store_objects(arrays, coordinates, attributes, digests))
    Target(str(folder)).write({**array_objects(arrays), **objects})
    return spent


def ask(store: Path) -> dict[str, float]:
    """Seconds, tasks and bytes of what is asked of a store without reading a pixel."""
    found: dict[str, float] = {
        "zarr.json kB": (store / ROOT).stat().st_size / 1e3,
        "coordinates MB": (store / "coordinates.zip").stat().st_size / 1e6,
    }
    s2cmc.open_catalogue(store).close()  # what is imported once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ds = timed(found, "open s", lambda: s2cmc.open_catalogue(store))
    found["open, peak MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    found["coordinates in memory MB"] = sum(c.nbytes for c in ds.coords.values()) / 1e6
    timed(found, "repr s", lambda: repr(ds))
    chosen = timed(found, "select tags s", lambda: ds.clouds.select("cumulus and cloud_percent > 20"))
    timed(found, "select box s", lambda: ds.clouds.select(bbox=(-10, 35, 30, 60)))
    timed(found, "select time s", lambda: ds.clouds.select(time=slice("2018-03", "2018-05")))
    timed(found, "one scene s", lambda: ds.clouds.scene(str(ds.scene.values[-1])))
    timed(found, "groups s", lambda: ds.clouds.groups)
    fractions = timed(found, "fractions, build s", ds.clouds.class_fractions)
    found["fractions, tasks"] = timed(found, "fractions, graph s", lambda: len(dict(fractions.__dask_graph__())))
    mean = timed(found, "mean, build s", lambda: chosen.reflectance.sel(band="B04").mean(["scene", "y", "x"]))
    found["mean, tasks"] = timed(found, "mean, graph s", lambda: len(dict(mean.__dask_graph__())))
    found["mean, tasks a scene"] = found["mean, tasks"] / chosen.sizes["scene"]
    statistics = timed(found, "statistics, build s", ds.clouds.band_statistics)
    tasks = timed(found, "statistics, graph s", lambda: len(dict(statistics.__dask_graph__())))
    found["statistics, tasks a scene"] = tasks / ds.sizes["scene"]
    found["pickled MB"] = len(pickle.dumps(ds)) / 1e6
    found["all, peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


def row(scenes: int) -> dict[str, float]:
    """One column of the table: what making and asking a store takes, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, float] = {}
        for step in ("make", "ask"):
            command = [sys.executable, __file__, step, folder, str(scenes)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603, this file
            found |= json.loads(done.stdout)
        return found


def show(columns: dict[int, dict[str, float]]) -> None:
    """Print the table."""
    table = Table(title="scenes without pixels; seconds where nothing else is said")
    table.add_column("")
    for scenes in columns:
        table.add_column(f"{scenes:,}", justify="right")
    for name in next(iter(columns.values())):
        table.add_row(name, *(f"{column[name]:,.4g}" for column in columns.values()))
    Console(width=120).print(table)


def main(*words: str) -> None:
    """Make and ask stores of some sizes."""
    match words:
        case ("make", folder, scenes):
            sys.stdout.write(json.dumps({f"make: {k}": v for k, v in make_store(Path(folder), int(scenes)).items()}))
        case ("ask", folder, _):
            sys.stdout.write(json.dumps(ask(Path(folder))))
        case _:
            show({scenes: row(scenes) for scenes in map(int, words or SCENES)})


if __name__ == "__main__":
    main(*sys.argv[1:])
