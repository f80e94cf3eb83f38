"""Results as short tables of text, and the catalogue's own tables gathered for files: Markdown, CSV, JSON."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc import statistics
from s2cmc.evaluation import Resampling, agreement
from s2cmc.query import By
from s2cmc.schema import CLASS_DIM, MaskClass

_CLASS_SCORES = {"f1": "F1", "precision": "prec.", "recall": "recall", "iou": "IoU", "balanced_accuracy": "bal.acc."}
_OVERALL_SCORES = {
    "cloud_accuracy": "accuracy",
    "cloud_kappa": "kappa",
    "three_class_accuracy": "acc. of 3",
    "three_class_kappa": "kappa of 3",
}
UNDEFINED = "-"
_MUCH = 0.05  # share of pixels without prediction that is worth a remark
HUMAN_NOTE = (
    "human: the other annotator against the same masks, on the scenes that both masked; beside it: the prediction on "
    "these scenes; on: how many they are"
)


def settings(result: xr.Dataset) -> str:
    """Describe a result in a line: its title, options and source."""
    options = [f"{name} {value}" for name, value in result.attrs.items() if name not in ("title", "synthetic")]
    warning = "SYNTHETIC data, nothing was measured; " if result.attrs.get("synthetic") else ""
    return f"{warning}{result.attrs.get('title', 'result')}; {', '.join(options)}"


def remarks(result: xr.Dataset) -> list[str]:
    """List what a reader of the tables must know: the meaning of columns, and that many pixels are left out."""
    notes = []
    if "human_f1" in result and result["doubly_annotated"].any():
        notes.append(HUMAN_NOTE)
    if "ignored_prediction" in result:
        everywhere = result.isel(stratum=0).sel({CLASS_DIM: MaskClass.CLOUD.label})
        without = everywhere["ignored_prediction"].item()
        total = without + sum(everywhere[name].item() for name in ("tp", "fp", "fn", "tn"))
        if without > _MUCH * total:
            notes.append(
                f"{100 * without / total:.0f} % of the pixels have no class in the prediction: does the class map fit?"
            )
    return notes


def class_table(result: xr.Dataset) -> pd.DataFrame:
    """Table the scores of each stratum and class: F1 with its interval, and the human F1 on doubly annotated scenes.

    Parameters
    ----------
    result : Dataset (stratum, mask_class)
        Result of `evaluate`, `agreement` or `compare`. Strata without scenes are left out.

    Returns
    -------
    DataFrame of str
    """
    rows = []
    for at in _rows(_with_scenes(result)):
        row = {"stratum": at["stratum"], "class": at[CLASS_DIM]}
        row |= {name: str(at[name]) for name in ("scenes", "groups")}
        for score, title in _CLASS_SCORES.items():
            row[title] = _number(at[score])
            if score == "f1":
                row["interval"] = _interval(at, score)
        rows.append(row | _beside_human(at, "f1"))
    return pd.DataFrame(rows)


def overall_table(result: xr.Dataset, *, intervals: bool = True) -> pd.DataFrame:
    """Table the overall scores of each stratum, cloud against non-cloud first; see `class_table`.

    Parameters
    ----------
    result : Dataset (stratum, mask_class)
    intervals : bool
        Put the interval of each score beside it.
    """
    rows = []
    # Numbers of scenes and groups differ by class. Cloud is scored on all scenes: the largest number is that of cloud.
    for at in _rows(_with_scenes(result).max(CLASS_DIM)):
        row = {"stratum": at["stratum"]}
        row |= {name: str(at[name]) for name in ("scenes", "groups")}
        for score, title in _OVERALL_SCORES.items():
            if score in at:
                row[title] = _number(at[score])
                if intervals and _interval(at, score) != UNDEFINED:
                    row[title] += f" [{_interval(at, score)}]"
        if "pixel_agreement" in at:
            row["agreeing pixels"] = _number(at["pixel_agreement"])
        rows.append(row | _beside_human(at, "cloud_accuracy"))
    return pd.DataFrame(rows)


def ignored_table(result: xr.Dataset) -> pd.DataFrame:
    """Table the number of pixels left out of each stratum, by reason."""
    titles = {
        "ignored_truth": "no truth",
        "ignored_prediction": "no prediction",
        "ignored_boundary": "near a boundary",
        "ignored_shadow": "shadows unmarked",
    }
    reasons = [name for name in titles if name in result]
    rows = _rows(_with_scenes(result)[reasons])
    return pd.DataFrame([{"stratum": at["stratum"]} | {titles[n]: f"{at[n]:,}" for n in reasons} for at in rows])


def prevalence_table(result: xr.Dataset) -> pd.DataFrame:
    """Table the percentages of each class by stratum, and how much masks and published table differ."""
    strata = _with_scenes(result)
    largest = abs(strata["difference"]).max(CLASS_DIM).to_numpy()
    rows = []
    for i, at in enumerate(_rows(strata[["scenes", "differing_scenes"]])):
        percent = {f"{c} %": strata["percent"].sel({CLASS_DIM: c}).to_numpy()[i] for c in strata[CLASS_DIM].to_numpy()}
        row = {"stratum": at["stratum"], "scenes": str(at["scenes"])}
        row |= {title: _number(value, 4) for title, value in percent.items()}
        rows.append(row | {"table differs in": str(at["differing_scenes"]), "by up to %": _number(largest[i], 4)})
    return pd.DataFrame(rows)


def share_table(result: xr.Dataset) -> pd.DataFrame:
    """Table the number of scenes and their percentage, from a result of `difficulty` or `tag_frequencies`."""
    frame = result.reset_coords().to_dataframe().reset_index()
    frame["percent"] = [_number(value, 1) for value in frame["percent"]]
    return frame.astype(str)


def markdown(frame: pd.DataFrame) -> str:
    """Format a frame as a Markdown table, without its index."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _with_scenes(result: xr.Dataset) -> xr.Dataset:
    """Select the strata that have scenes."""
    scenes = result["scenes"]
    return result.isel(stratum=(scenes.max([dim for dim in scenes.dims if dim != "stratum"]) > 0).to_numpy())


def _rows(result: xr.Dataset) -> list[dict[str, Any]]:
    """Return a mapping of names to values for each stratum, or stratum and class."""
    return result.to_dataframe().reset_index().to_dict("records")  # type: ignore[return-value]  # its keys are text


def _number(value: float, digits: int = 3) -> str:
    return UNDEFINED if np.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.000


def _interval(at: Mapping[str, Any], score: str) -> str:
    low, high = (_number(at[f"{score}_{end}"]) for end in ("lower", "upper"))
    return UNDEFINED if low == UNDEFINED else f"{low}, {high}"


def _beside_human(at: Mapping[str, Any], score: str) -> dict[str, str]:
    """Return the other annotator's score, the prediction's on the same scenes, and the number of these scenes."""
    if f"human_{score}" not in at:
        return {}
    human, prediction = (_number(at[f"{whose}_{score}"]) for whose in ("human", "doubly"))
    return {"human": human, "beside it": prediction, "on": str(at["doubly_annotated"])}


# The catalogue's own tables gathered, as its description publishes them, and as records for files.

DEFAULT_BY = ("dataset", "surface_type", "cloud_type")
"""Default strata of the class prevalence."""


def gather_statistics(catalogue: xr.Dataset, by: By) -> dict[str, xr.Dataset]:
    """Compute the catalogue's own tables.

    The masks are read once for the prevalence, and the masks of both annotators once for the agreement.

    Parameters
    ----------
    catalogue : Dataset
    by : str, DataArray or sequence of these, optional
        Strata of the prevalence.

    Returns
    -------
    dict of Dataset
        ``prevalence``, ``difficulty``, ``tags``, ``tag_cooccurrence``, and, where scenes have masks of both
        annotators, ``agreement``.
    """
    tables = {
        "prevalence": statistics.prevalence(catalogue, by).compute(),
        "difficulty": statistics.difficulty_counts(catalogue),
        "tags": statistics.tag_frequencies(catalogue),
        "tag_cooccurrence": statistics.tag_cooccurrence(catalogue).to_dataset(),
    }
    if "alt_mask" in catalogue and catalogue["has_alt_mask"].any():
        tables["agreement"] = agreement(catalogue, "dataset", 0, False, Resampling())
    return tables


def to_json(tables: Mapping[str, xr.Dataset]) -> str:
    """Format each table as a list of records in JSON; undefined numbers are null."""
    return json.dumps({name: records(table) for name, table in tables.items()}, indent=1)


def to_csv(tables: Mapping[str, xr.Dataset]) -> str:
    """Format all tables as one in CSV, with columns ``table``, ``row``, ``column``, ``value``."""
    parts = []
    for name, table in tables.items():
        frame = table.reset_coords(drop=True).to_dataframe().astype(object)  # whole numbers stay whole beside others
        rows = [" / ".join(map(str, key if isinstance(key, tuple) else (key,))) for key in frame.index]
        long = frame.set_axis(pd.Index(rows, name="row")).reset_index().melt("row", var_name="column")
        parts.append(long.assign(table=name)[["table", "row", "column", "value"]])
    return pd.concat(parts).to_csv(index=False)


def records(table: xr.Dataset) -> list[dict[str, Any]]:
    """Return a mapping of column to value for each row of a table; undefined numbers are None."""
    return frame_records(table.to_dataframe().reset_index())


def frame_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a mapping of column to value for each row of a frame; undefined numbers are None."""
    frame = frame.astype(object)
    return frame.where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]  # its keys are text


def scene_table(catalogue: xr.Dataset) -> pd.DataFrame:
    """Table every coordinate of the scenes, one scene a row, its ID first; times are text of ISO 8601, UTC."""
    columns = {str(name): c.to_numpy() for name, c in catalogue.coords.items() if c.dims == ("scene",)}
    frame = pd.DataFrame({"scene": columns.pop("scene")} | columns)
    for name in frame.select_dtypes("datetime"):
        frame[name] = frame[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return frame
