"""The catalogue's own tables gathered, as its description publishes them, and as records for files."""

import json
from typing import Any

import pandas as pd
import xarray as xr

from s2cmc import tables
from s2cmc.estimate import Resampling
from s2cmc.evaluate import agreement
from s2cmc.strata import By

DEFAULT_BY = ("dataset", "surface_type", "cloud_type")
"""Strata of the class prevalence where nothing else is asked for."""


def gather(catalogue: xr.Dataset, by: By) -> dict[str, xr.Dataset]:
    """Compute all tables: the masks are read once for the prevalence, those of both annotators for the agreement.

    Returns
    -------
    dict of Dataset
        ``prevalence``, ``difficulty``, ``tags``, ``tag_cooccurrence``, and, where scenes have masks of both
        annotators, ``agreement``.
    """
    found = {
        "prevalence": tables.prevalence(catalogue, by).compute(),
        "difficulty": tables.difficulty(catalogue),
        "tags": tables.tag_frequencies(catalogue),
        "tag_cooccurrence": tables.tag_cooccurrence(catalogue).to_dataset(),
    }
    if "alt_mask" in catalogue and catalogue["has_alt_mask"].any():
        found["agreement"] = agreement(catalogue, "dataset", 0, False, Resampling())
    return found


def to_json(found: dict[str, xr.Dataset]) -> str:
    """Every table as a list of records; what is undefined is null."""
    return json.dumps({name: records(table) for name, table in found.items()}, indent=1)


def to_csv(found: dict[str, xr.Dataset]) -> str:
    """All tables in one: columns ``table``, ``row``, ``column``, ``value``."""
    parts = []
    for name, table in found.items():
        frame = table.reset_coords(drop=True).to_dataframe().astype(object)  # whole numbers stay whole beside others
        rows = [" / ".join(map(str, key if isinstance(key, tuple) else (key,))) for key in frame.index]
        long = frame.set_axis(pd.Index(rows, name="row")).reset_index().melt("row", var_name="column")
        parts.append(long.assign(table=name)[["table", "row", "column", "value"]])
    return pd.concat(parts).to_csv(index=False)


def records(table: xr.Dataset) -> list[dict[str, Any]]:
    """One record for each row of a table."""
    frame = table.to_dataframe().reset_index().astype(object)
    found: Any = frame.where(frame.notna(), None).to_dict("records")
    return found
