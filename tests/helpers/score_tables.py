"""Tables of made-up scenes and their scores, for the tests of what is estimated from them."""

from typing import Any

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.evaluation.intervals import Resampling, score_differences, score_strata, tables_of

CLEAR, CLOUD, SHADOW = 0, 1, 2
CLASS_SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
THREE_CLASSES = [*CLASS_SCORES, "cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]
FEW = Resampling(resamples=200, least_groups=2)

three_class_tables = npst.arrays("int64", st.tuples(st.integers(1, 8), *[st.just(3)] * 2), elements=st.integers(0, 9))


def counts_dataset(confusion: object) -> xr.Dataset:
    dims = ("scene", "truth", "predicted")
    return xr.Dataset({"confusion": (dims, np.array(confusion, np.int64))})


def tables_of_scenes(confusion: object, marked: object = True) -> np.ndarray:
    """What is scored of tables (scene, truth, predicted), with shadows marked in all scenes or in these."""
    counts = counts_dataset(confusion)
    return tables_of(counts["confusion"], np.broadcast_to(np.array(marked), counts.sizes["scene"]))


def members(scenes: int, **strata: list[int]) -> xr.DataArray:
    """Stratum ``all``, and others of these scenes."""
    rows = [np.isin(np.arange(scenes), chosen) for chosen in strata.values()]
    return xr.DataArray(
        np.stack([np.ones(scenes, bool), *rows]),
        dims=("stratum", "scene"),
        coords={"stratum": ["all", *strata], "by": ("stratum", ["all", *strata])},
    )


def score(tables: np.ndarray, groups: object, resampling: Resampling | None = FEW, **strata: list[int]) -> xr.Dataset:
    return score_strata(members(len(tables), **strata), tables, np.array(groups), resampling, "truth")


def compare(
    first: np.ndarray, second: np.ndarray, groups: object, resampling: Resampling = FEW, **strata: list[int]
) -> xr.Dataset:
    return score_differences(members(len(first), **strata), first, second, np.array(groups), resampling)


def ends(found: xr.Dataset, name: str, **where: Any) -> list[float]:
    return [found[f"{name}_{end}"].isel(stratum=0, **where).item() for end in ("lower", "upper")]


def width(found: xr.Dataset, name: str, **where: Any) -> float:
    lower, upper = ends(found, name, **where)
    return upper - lower


def cloud_tables(hits: object, pixels: int = 100) -> np.ndarray:
    """Tables of scenes with `pixels` cloud pixels, of which so many were found, and as many clear ones."""
    return np.array([[[pixels, 0, 0], [pixels - n, n, 0], [0, 0, 0]] for n in np.array(hits)], np.int64)


def unlike_scenes(count: int, seed: int) -> np.ndarray:
    """Tables of scenes of unlike size and difficulty."""
    rng = np.random.default_rng(seed)
    wrong = rng.uniform(0.02, 0.3, count)
    tables = []
    for share, clouds in zip(wrong, rng.uniform(0.1, 0.9, count), strict=True):
        pixels = rng.multinomial(rng.integers(100, 1000), [0.8 * (1 - clouds), clouds, 0.2 * (1 - clouds)])
        mixed = share * np.full((3, 3), 1 / 3) + (1 - share) * np.eye(3)
        tables.append([rng.multinomial(n, of_class) for n, of_class in zip(pixels, mixed, strict=True)])
    return np.array(tables, np.int64)
