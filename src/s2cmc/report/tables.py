"""Results as short tables, Markdown, CSV and JSON; all tables of a catalogue gathered."""

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
    """What a result is of, in a line: its title, options and source."""
    options = [f"{name} {value}" for name, value in result.attrs.items() if name not in ("title", "synthetic")]
    warning = "SYNTHETIC data, nothing was measured; " if result.attrs.get("synthetic") else ""
    return f"{warning}{result.attrs.get('title', 'result')}; {', '.join(options)}"


def remarks(result: xr.Dataset) -> list[str]:
    """What a reader should know of the tables: whose columns stand in them, and whether much was left out."""
    found = []
    if "human_f1" in result and result["doubly_annotated"].any():
        found.append(HUMAN_NOTE)
    if "ignored_prediction" in result:
        everywhere = result.isel(stratum=0).sel({CLASS_DIM: MaskClass.CLOUD.label})
        without = everywhere["ignored_prediction"].item()
        total = without + sum(everywhere[name].item() for name in ("tp", "fp", "fn", "tn"))
        if without > _MUCH * total:
            found.append(
                f"{100 * without / total:.0f} % of the pixels have no class in the prediction: does the class map fit?"
            )
    return found


def class_table(result: xr.Dataset) -> pd.DataFrame:
    """Scores of each stratum and class: F1 with its interval, and the human F1 beside that on the same scenes.

    Parameters
    ----------
    result : Dataset (stratum, mask_class)
        Of `evaluate`, `agreement` or `compare`. Strata without scenes are left out.

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
    """Overall scores of each stratum, cloud against non-cloud first; see `class_table`."""
    rows = []
    for at in _rows(_with_scenes(result).max(CLASS_DIM)):  # of what differs by class, that of cloud, which is the most
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
    """Pixels left out of each stratum, by reason."""
    titles = {
        "ignored_truth": "no truth",
        "ignored_prediction": "no prediction",
        "ignored_boundary": "near a boundary",
        "ignored_shadow": "shadows unmarked",
    }
    there = [name for name in titles if name in result]
    rows = _rows(_with_scenes(result)[there])
    return pd.DataFrame([{"stratum": at["stratum"]} | {titles[n]: f"{at[n]:,}" for n in there} for at in rows])


def prevalence_table(result: xr.Dataset) -> pd.DataFrame:
    """Percentages of each class by stratum, and where masks and table differ."""
    found = _with_scenes(result)
    largest = abs(found["difference"]).max(CLASS_DIM).to_numpy()
    rows = []
    for i, at in enumerate(_rows(found[["scenes", "differing_scenes"]])):
        percent = {f"{c} %": found["percent"].sel({CLASS_DIM: c}).to_numpy()[i] for c in found[CLASS_DIM].to_numpy()}
        row = {"stratum": at["stratum"], "scenes": str(at["scenes"])}
        row |= {title: _number(value, 4) for title, value in percent.items()}
        rows.append(row | {"table differs in": str(at["differing_scenes"]), "by up to %": _number(largest[i], 4)})
    return pd.DataFrame(rows)


def share_table(result: xr.Dataset) -> pd.DataFrame:
    """Scenes and their percentage, as `difficulty` and `tag_frequencies` give them."""
    frame = result.reset_coords().to_dataframe().reset_index()
    frame["percent"] = [_number(value, 1) for value in frame["percent"]]
    return frame.astype(str)


def markdown(frame: pd.DataFrame) -> str:
    """Give a frame as a Markdown table, without its index."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _with_scenes(result: xr.Dataset) -> xr.Dataset:
    """The strata that have scenes."""
    scenes = result["scenes"]
    return result.isel(stratum=(scenes.max([dim for dim in scenes.dims if dim != "stratum"]) > 0).to_numpy())


def _rows(result: xr.Dataset) -> list[dict[str, Any]]:
    """One mapping of names to values for each stratum, or stratum and class."""
    return result.to_dataframe().reset_index().to_dict("records")  # type: ignore[return-value]  # its keys are text


def _number(value: float, digits: int = 3) -> str:
    return UNDEFINED if np.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.000


def _interval(at: Mapping[str, Any], score: str) -> str:
    low, high = (_number(at[f"{score}_{end}"]) for end in ("lower", "upper"))
    return UNDEFINED if low == UNDEFINED else f"{low}, {high}"


def _beside_human(at: Mapping[str, Any], score: str) -> dict[str, str]:
    """The other annotator's score, the prediction's on the same scenes, and how many these are."""
    if f"human_{score}" not in at:
        return {}
    human, prediction = (_number(at[f"{whose}_{score}"]) for whose in ("human", "doubly"))
    return {"human": human, "beside it": prediction, "on": str(at["doubly_annotated"])}


# The catalogue's own tables gathered, as its description publishes them, and as records for files.

DEFAULT_BY = ("dataset", "surface_type", "cloud_type")
"""Strata of the class prevalence where nothing else is asked for."""


def gather_statistics(catalogue: xr.Dataset, by: By) -> dict[str, xr.Dataset]:
    """Compute all tables: the masks are read once for the prevalence, those of both annotators for the agreement.

    Returns
    -------
    dict of Dataset
        ``prevalence``, ``difficulty``, ``tags``, ``tag_cooccurrence``, and, where scenes have masks of both
        annotators, ``agreement``.
    """
    found = {
        "prevalence": statistics.prevalence(catalogue, by).compute(),
        "difficulty": statistics.difficulty_counts(catalogue),
        "tags": statistics.tag_frequencies(catalogue),
        "tag_cooccurrence": statistics.tag_cooccurrence(catalogue).to_dataset(),
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
