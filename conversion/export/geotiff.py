"""One scene as GeoTIFF or Cloud-Optimized GeoTIFF, with what is known of it as metadata.

GDAL's own COG driver writes them, through rasterio: no other package is needed, and bands can lie one after the other,
so that one is read without the others. They are compressed by DEFLATE, which every reader has: ZSTD would save 4 %, and
is an option of libtiff that many builds, and readers that are not built on it, lack.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from s2cmc.errors import CatalogueError
from s2cmc.schema import (
    ANNOTATORS,
    BAND_NAMES,
    CLASS_COLORS,
    CLASS_NAMES,
    DN_PER_REFLECTANCE,
    MASK_MISSING,
    MASK_NOT_ONE_HOT,
    SPLITS,
    TAGS,
    Band,
    MaskClass,
    TagGroup,
    bands_of,
)
from s2cmc.store import read_array, to_mask

from ..verify import Readback
from .png import encode_sidecar, masks_of, transform_of

if TYPE_CHECKING:
    from rasterio.io import DatasetWriter

_BLOCK = 512
_COMMON = {"COMPRESS": "DEFLATE", "INTERLEAVE": "BAND", "BIGTIFF": "NO", "NUM_THREADS": "1"}
_TILED = {"TILED": "YES", "BLOCKXSIZE": _BLOCK, "BLOCKYSIZE": _BLOCK}
_PREDICTORS = {"u": "2", "f": "3"}  # horizontal differences; of floating point numbers
_PERCENTAGES = ("clear_percent", "cloud_percent", "shadow_percent")
_COLOURS = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}


def geotiff_files(
    stored: Readback, attributes: Mapping[str, Any], i: int, bands: Sequence[str], *, cog: bool
) -> dict[str, Callable[[], bytes]]:
    """Files of scene `i`, by name: reflectance, and its masks. Nothing is read before one of them is made.

    Parameters
    ----------
    stored : Readback
    attributes : mapping
        Of the store.
    i : int
    bands : sequence of str
    cog : bool
        Cloud-Optimized; otherwise tiled, without overviews.
    """
    scene, epsg, transform = stored.scenes[i], int(stored.coordinates["epsg"][i]), transform_of(stored, i)
    tags = scene_tags(stored, i, attributes)

    def reflectance() -> bytes:
        chosen = [BAND_NAMES.index(band) for band in bands]
        pixels = read_array(stored.array("reflectance"), i)[..., chosen]
        known = bands_of(tags["platform"])
        return encode_reflectance(pixels, [known[band] for band in chosen], epsg, transform, tags, cog=cog)

    def labels(name: str) -> bytes:
        own = alt_mask_tags(tags) if name == "alt_mask" else tags
        return encode_labels(read_array(stored.array(name), i), name, epsg, transform, own, cog=cog)

    files: dict[str, Callable[[], bytes]] = {f"{scene}_reflectance.tif": reflectance}
    for name in masks_of(stored, i):
        # What stands beside a file goes first: where the file is, it is too.
        files[f"{scene}_{name}.tif.aux.xml"] = partial(encode_sidecar, categories=True)
        files[f"{scene}_{name}.tif"] = partial(labels, name)
    return files


def refuse_unplaced(stored: Readback, positions: Sequence[int]) -> None:
    """Refuse scenes that cannot be GeoTIFFs.

    Raises
    ------
    CatalogueError
        With one line for each scene of which nobody knows where it is.
    """
    unplaced = [stored.scenes[i] for i in positions if np.isnan(stored.coordinates["x_origin"][i])]
    if unplaced:
        lines = "\n  - ".join(unplaced)
        raise CatalogueError(
            f"{len(unplaced)} of {len(positions)} scenes have no outline, so that nobody knows where they are; "
            f"leave them out, or export npz, png or zarr:\n  - {lines}"
        )


_ORIGIN = ("citation", "doi", "license", "source", "synthetic", "title")
"""Attributes of a store that go with each of its scenes."""


def scene_tags(stored: Readback, i: int, attributes: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of scene `i` for `encode_reflectance`: what table and product ID say, and where it comes from.

    Tags are told by the question that they answer: ``surface_type="snow_ice, coastal"``. A question that none answers
    is left out.
    """
    row = {name: values[i] for name, values in stored.coordinates.items() if len(values) == len(stored.scenes)}
    tags = {
        "scene": stored.scenes[i],
        "time": f"{np.datetime64(int(row['time']), 's')}Z",
        **{name: str(row[name]) for name in ("platform", "relative_orbit", "mgrs_tile", "processing_baseline")},
        **{str(group): ", ".join(t.name for t in TAGS if t.group is group and row[t.name]) for group in TagGroup},
        **{name: str(row[name]) for name in ("dataset", "difficulty", "annotator")},
        "split": next(name for name, parts in SPLITS.items() if str(row["dataset"]) in parts),
        "shadows_marked": "true" if row["shadows_marked"] else "false",
        **{name: repr(float(row[name])) for name in _PERCENTAGES},
        **{name: str(attributes[name]) for name in _ORIGIN if name in attributes},
    }
    return {name: value for name, value in tags.items() if value}


def alt_mask_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags for the other annotator's mask, without the published percentages, which are not of it."""
    other = {"annotator": next(name for name in ANNOTATORS if name != tags["annotator"])}
    return {name: value for name, value in tags.items() if name not in _PERCENTAGES} | other


def encode_reflectance(
    pixels: np.ndarray, bands: Sequence[Band], epsg: int, transform: Affine, tags: Mapping[str, str], *, cog: bool
) -> bytes:
    """Reflectance as a file.

    Parameters
    ----------
    pixels : ndarray (y, x, band)
        uint16 DN with scale 0.0001 and no-data 0, or float32 reflectance with no-data NaN.
    bands : sequence of Band
        As the scene's satellite has them.
    epsg : int
        CRS.
    transform : Affine
        From pixels to CRS.
    tags : mapping of str to str
        Metadata of the file.
    cog : bool
        Cloud-Optimized, with overviews (averages); otherwise tiled, without.
    """
    digital = pixels.dtype == np.uint16

    def describe(file: "DatasetWriter") -> None:
        file.scales = [1 / DN_PER_REFLECTANCE if digital else 1.0] * len(bands)
        file.offsets = [0.0] * len(bands)
        file.units = ["1"] * len(bands)
        file.descriptions = [band.name for band in bands]
        file.colorinterp = [_COLOURS.get(band.common_name, ColorInterp.undefined) for band in bands]
        for number, band in enumerate(bands, start=1):
            file.update_tags(number, **_band_tags(band))
            # Where GDAL 3.10 and later, and what is built on it, look for them.
            micrometres = {"CENTRAL_WAVELENGTH_UM": band.wavelength, "FWHM_UM": band.bandwidth}
            file.update_tags(number, ns="IMAGERY", **{key: f"{nm / 1000:.4f}" for key, nm in micrometres.items()})

    return _encode(
        np.ascontiguousarray(np.moveaxis(pixels, -1, 0)),
        epsg,
        transform,
        0 if digital else np.nan,
        tags,
        describe,
        {"PREDICTOR": _PREDICTORS[pixels.dtype.kind]},
        "AVERAGE" if cog else None,
    )


def _band_tags(band: Band) -> dict[str, str]:
    return {
        "common_name": band.common_name,
        "wavelength_nm": f"{band.wavelength}",
        "bandwidth_nm": f"{band.bandwidth}",
        "native_resolution_m": f"{band.resolution}",
    }


def encode_labels(
    stored: np.ndarray, name: str, epsg: int, transform: Affine, tags: Mapping[str, str], *, cog: bool
) -> bytes:
    """A mask as a file with a colour table.

    Parameters
    ----------
    stored : ndarray (y, x), uint8
        Labels as stored. A pixel that is not one-hot is written as 255, no label; tag ``pixels_not_one_hot`` counts
        them.
    name : str
        ``mask`` or ``alt_mask``.
    epsg, transform, tags, cog
        See `encode_reflectance`. Overviews hold the most frequent label.
    """
    colors = {int(label): (*color, 255) for label, color in CLASS_COLORS.items()} | {MASK_MISSING: (0, 0, 0, 0)}
    odd = np.count_nonzero((stored >= MASK_NOT_ONE_HOT) & (stored != MASK_MISSING))

    def describe(file: "DatasetWriter") -> None:
        file.descriptions = [name]
        file.write_colormap(1, colors)
        # Names of categories stand in a file beside this one; these go with it wherever it goes (CF, section 3.5).
        values = " ".join(str(int(label)) for label in MaskClass)
        file.update_tags(1, flag_values=values, flag_meanings=" ".join(CLASS_NAMES))

    return _encode(
        to_mask(stored)[np.newaxis],
        epsg,
        transform,
        MASK_MISSING,
        {**tags, "pixels_not_one_hot": str(odd)},
        describe,
        {},
        "MODE" if cog else None,
    )


def _encode(
    planes: np.ndarray,
    epsg: int,
    transform: Affine,
    nodata: float,
    tags: Mapping[str, str],
    describe: "Callable[[DatasetWriter], None]",
    options: Mapping[str, str],
    overviews: str | None,
) -> bytes:
    """A file of planes (band, y, x), made in memory: it is written whole, wherever that is."""
    count, height, width = planes.shape
    with MemoryFile() as plain, MemoryFile() as made:
        with plain.open(
            driver="GTiff",
            dtype=planes.dtype,
            count=count,
            height=height,
            width=width,
            crs=f"EPSG:{epsg}",
            transform=transform,
            nodata=nodata,
            interleave="band",
        ) as file:
            describe(file)
            file.update_tags(**tags)
            file.write(planes)
        if overviews is None:
            layout = {"driver": "GTiff", **_TILED}
        else:
            layout = {"driver": "COG", "BLOCKSIZE": _BLOCK, "OVERVIEW_RESAMPLING": overviews}
        with plain.open() as file:
            # A copy, unlike `rasterio.open(driver="COG")`, lets other threads run meanwhile.
            rasterio.shutil.copy(file, made.name, **layout, **_COMMON, **options)
        return bytes(made.getbuffer())
