"""Results as short tables for people: rounded, with intervals and the human ceiling beside the scores."""

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.schema import CLASS_DIM

_CLASS_SCORES = {"f1": "F1", "precision": "prec.", "recall": "recall", "iou": "IoU", "balanced_accuracy": "bal.acc."}
_OVERALL_SCORES = {
    "cloud_accuracy": "accuracy",
    "cloud_kappa": "kappa",
    "three_class_accuracy": "acc. of 3",
    "three_class_kappa": "kappa of 3",
}
UNDEFINED = "-"
HUMAN_NOTE = (
    "human: the other annotator against the same masks, on the scenes that both masked; beside it: the prediction on "
    "these scenes; on: how many they are"
)


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
    for stratum in _strata(result):
        for name in result[CLASS_DIM].to_numpy():
            at = result.sel({"stratum": stratum, CLASS_DIM: name})
            row = {"stratum": stratum, "class": name}
            if "scenes" in at:
                row |= {"scenes": str(at["scenes"].item())}
            for score, title in _CLASS_SCORES.items():
                row[title] = _number(at[score].item())
                if score == "f1":
                    row["interval"] = _interval(at, score)
            rows.append(row | _beside_human(at, "f1"))
    return pd.DataFrame(rows)


def overall_table(result: xr.Dataset, *, intervals: bool = True) -> pd.DataFrame:
    """Overall scores of each stratum, cloud against non-cloud first; see `class_table`."""
    rows = []
    for stratum in _strata(result):
        at = result.sel(stratum=stratum)
        row = {"stratum": stratum}
        if "scenes" in at:
            row |= {"scenes": str(at["scenes"].max().item()), "groups": str(at["groups"].max().item())}
        for score, title in _OVERALL_SCORES.items():
            if score in at:
                row[title] = _number(at[score].item())
                if intervals and _interval(at, score) != UNDEFINED:
                    row[title] += f" [{_interval(at, score)}]"
        if "pixel_agreement" in at:
            row["agreeing pixels"] = _number(at["pixel_agreement"].item())
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
    rows = []
    for stratum in _strata(result):
        at = result.sel(stratum=stratum)
        rows.append({"stratum": stratum} | {title: f"{at[n].item():,}" for n, title in titles.items() if n in at})
    return pd.DataFrame(rows)


def prevalence_table(result: xr.Dataset) -> pd.DataFrame:
    """Percentages of each class by stratum, and where masks and table differ."""
    rows = []
    for stratum in _strata(result):
        at = result.sel(stratum=stratum)
        row = {"stratum": stratum, "scenes": str(at["scenes"].item())}
        for name in result[CLASS_DIM].to_numpy():
            row[f"{name} %"] = f"{at['percent'].sel({CLASS_DIM: name}).item():.4f}"
        largest = float(np.abs(at["difference"]).max())
        row |= {"table differs in": str(at["differing_scenes"].item()), "by up to %": f"{largest:.4f}"}
        rows.append(row)
    return pd.DataFrame(rows)


def share_table(result: xr.Dataset) -> pd.DataFrame:
    """Scenes and their percentage, as `difficulty` and `tag_frequencies` give them."""
    frame = result.reset_coords().to_dataframe().reset_index()
    frame["percent"] = [f"{value:.1f}" for value in frame["percent"]]
    return frame.astype(str)


def markdown(frame: pd.DataFrame) -> str:
    """Give a frame as a Markdown table, without its index."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _strata(result: xr.Dataset) -> list[str]:
    """Names of the strata that have scenes."""
    names = result["stratum"].to_numpy().tolist()
    if "scenes" not in result:
        return names
    there = result["scenes"].max([dim for dim in result["scenes"].dims if dim != "stratum"]).to_numpy() > 0
    return [name for name, holds in zip(names, there, strict=True) if holds]


def _number(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.3f}"


def _interval(at: xr.Dataset, score: str) -> str:
    low, high = (_number(at[f"{score}_{end}"].item()) for end in ("lower", "upper"))
    return UNDEFINED if low == UNDEFINED else f"{low}, {high}"


def _beside_human(at: xr.Dataset, score: str) -> dict[str, str]:
    """The other annotator's score, the prediction's on the same scenes, and how many these are."""
    if f"human_{score}" not in at:
        return {}
    human, prediction = (_number(at[f"{whose}_{score}"].item()) for whose in ("human", "doubly"))
    return {"human": human, "beside it": prediction, "on": str(at["doubly_annotated"].max().item())}
