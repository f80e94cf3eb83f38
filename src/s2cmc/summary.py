"""Results as short tables for people: rounded, with intervals and the human ceiling beside the scores."""

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.schema import CLASS_DIM

_CLASS_SCORES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "iou": "IoU",
    "balanced_accuracy": "bal. acc.",
}
_OVERALL_SCORES = {
    "cloud_accuracy": "accuracy, cloud",
    "cloud_kappa": "kappa, cloud",
    "three_class_accuracy": "accuracy, 3 classes",
    "three_class_kappa": "kappa, 3 classes",
}
UNDEFINED = "-"


def class_table(result: xr.Dataset) -> pd.DataFrame:
    """Scores of each stratum and class, F1 with its interval, and the human ceiling where it is known.

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
                row[title] = _with_interval(at, score) if score == "f1" else _number(at[score].item())
            row |= _beside_human(at, "f1", "F1")
            rows.append(row)
    return pd.DataFrame(rows)


def overall_table(result: xr.Dataset) -> pd.DataFrame:
    """Overall scores of each stratum with their intervals; see `class_table`."""
    rows = []
    for stratum in _strata(result):
        at = result.sel(stratum=stratum)
        row = {"stratum": stratum}
        if "scenes" in at:
            row |= {"scenes": str(at["scenes"].max().item()), "groups": str(at["groups"].max().item())}
        for score, title in _OVERALL_SCORES.items():
            if score in at:
                row[title] = _with_interval(at, score)
        if "pixel_agreement" in at:
            row["agreeing pixels"] = _number(at["pixel_agreement"].item())
        rows.append(row | _beside_human(at, "cloud_accuracy", "accuracy, cloud"))
    return pd.DataFrame(rows)


def ignored_table(result: xr.Dataset) -> pd.DataFrame:
    """Pixels left out of each stratum, by reason."""
    titles = {
        "ignored_truth": "no label in the truth",
        "ignored_prediction": "none in the prediction",
        "ignored_boundary": "near a boundary",
        "ignored_shadow": "shadows unmarked (3 classes)",
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
        row |= {"table differs in": f"{at['differing_scenes'].item()} scenes", "by at most": f"{largest:.4f} %"}
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


def _with_interval(at: xr.Dataset, score: str) -> str:
    value, low, high = (_number(at[name].item()) for name in (score, f"{score}_lower", f"{score}_upper"))
    return value if low == UNDEFINED else f"{value} [{low}, {high}]"


def _beside_human(at: xr.Dataset, score: str, title: str) -> dict[str, str]:
    """The other annotator's score, and the prediction's on the same scenes."""
    if f"human_{score}" not in at:
        return {}
    return {
        f"human {title}": _number(at[f"human_{score}"].item()),
        "same scenes": f"{_number(at[f'doubly_{score}'].item())} ({at['doubly_annotated'].max().item()})",
    }
