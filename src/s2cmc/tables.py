"""The catalogue's own tables: class prevalence, difficulty, tags. Pixels are counted lazily, the rest is at hand."""

import numpy as np
import xarray as xr

from s2cmc.reduce import class_counts
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DIFFICULTIES
from s2cmc.select import tags
from s2cmc.strata import By, strata

PUBLISHED = ("clear_percent", "cloud_percent", "shadow_percent")  # in the order of CLASS_NAMES


def prevalence(catalogue: xr.Dataset, by: By) -> xr.Dataset:
    """Share of each class among the labelled pixels of each stratum; see `CloudsAccessor.prevalence`."""
    member = strata(catalogue, by)
    counts = class_counts(_bare(catalogue, "mask"))
    if counts.chunks is not None:  # a few numbers for each scene: what follows is one task, not one for each block
        counts = counts.chunk(scene=-1)
    pixels = xr.dot(member.drop_vars("scene").astype(np.int64), counts, dim="scene")
    labelled = pixels.sum(CLASS_DIM)
    percent = 100 * pixels / labelled.where(labelled > 0)
    scenes = member.sum("scene")
    table = xr.DataArray(
        np.stack([catalogue[name].to_numpy() for name in PUBLISHED], axis=-1), dims=("scene", CLASS_DIM)
    )
    published = xr.where(member, table, 0.0).sum("scene") / scenes.where(scenes > 0)
    differing = member & ~_bare(catalogue, "percentages_agree")
    found = xr.Dataset(
        {
            "scenes": scenes.assign_attrs(long_name="scenes", units="1"),
            "pixels": pixels.assign_attrs(long_name="pixels of the class in the masks", units="1"),
            "percent": percent.assign_attrs(long_name="share of the labelled pixels", units="percent"),
            "published_percent": published.assign_attrs(long_name="mean of the table's percentages", units="percent"),
            "difference": (percent - published).assign_attrs(long_name="masks minus table", units="percent"),
            "differing_scenes": differing.sum("scene").assign_attrs(
                long_name="scenes whose percentages in the table are not those of the mask", units="1"
            ),
        }
    )
    return found.assign_coords({CLASS_DIM: list(CLASS_NAMES)}).drop_vars("scene", errors="ignore")


def tag_frequencies(catalogue: xr.Dataset) -> xr.Dataset:
    """Scenes with each tag; see `CloudsAccessor.tag_frequencies`."""
    return _shares(tags(catalogue).sum("scene"), catalogue.sizes["scene"])


def difficulty(catalogue: xr.Dataset) -> xr.Dataset:
    """Scenes of each difficulty; see `CloudsAccessor.difficulty`."""
    values = catalogue["difficulty"].to_numpy()
    counts = [int((values == level).sum()) for level in DIFFICULTIES]
    found = xr.DataArray(counts, dims="difficulty", coords={"difficulty": list(DIFFICULTIES)})
    return _shares(found, catalogue.sizes["scene"])


def tag_cooccurrence(catalogue: xr.Dataset) -> xr.DataArray:
    """Scenes with each pair of tags; see `CloudsAccessor.tag_cooccurrence`."""
    flags = tags(catalogue).astype(np.int64).drop_vars("scene")
    other = flags.rename(tag="other_tag", tag_group="other_tag_group")
    return xr.dot(flags, other, dim="scene").rename("scenes").assign_attrs(long_name="scenes with both", units="1")


def _shares(scenes: xr.DataArray, total: int) -> xr.Dataset:
    percent = 100 * scenes / total if total else scenes * np.nan
    return xr.Dataset(
        {
            "scenes": scenes.assign_attrs(long_name="scenes", units="1"),
            "percent": percent.assign_attrs(long_name="share of all scenes", units="percent"),
        }
    )


def _bare(catalogue: xr.Dataset, name: str) -> xr.DataArray:
    """A variable without coordinates: to carry along dozens of them takes longer than to add up."""
    return xr.DataArray(catalogue.variables[name])
