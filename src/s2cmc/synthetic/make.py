"""The maker of small synthetic releases: sample data for a first look, for tests and for benchmarks.

`table` makes the tables and the quirks of the real release, `pixels` the pixels, and `s2cmc.release.ReleaseWriter`
writes them as published.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.errors import ArgumentError
from s2cmc.release import ArrayFormat, Layout, ReleaseWriter
from s2cmc.schema import (
    BAND_NAMES,
    DN_PER_REFLECTANCE,
    OUTLINE_MARGIN,
    PIXEL_SIZE,
    SQUARE_SIZE,
    TABLE_COLUMNS,
    MaskClass,
    Outline,
    Product,
    square_corner,
)
from s2cmc.synthetic import pixels
from s2cmc.synthetic.table import PERCENT_COLUMNS, plant_in_pixels, plant_in_rows, sample_table, to_rows, to_table


@dataclass(frozen=True)
class SampleScene:
    """A synthetic scene.

    Attributes
    ----------
    row : Mapping
        Its row of the published table: the columns of `schema.TABLE_COLUMNS`, percentages in per cent.
    reflectance : np.ndarray
        (y, x, band) float32, TOA reflectance, unitless, float32(DN) / float32(10000).
    mask, alt_mask : np.ndarray
        (y, x, class) bool, one-hot in order of `MaskClass`; by the annotator and, optional, by the other one.
    outline : Outline, optional
        Padded window, m, in the UTM zone of the tile.
    thumbnail : np.ndarray, optional
        (y, x, rgb) uint8, 0 to 255.
    """

    row: Mapping[str, Any]
    reflectance: np.ndarray
    mask: np.ndarray
    alt_mask: np.ndarray | None
    outline: Outline | None
    thumbnail: np.ndarray | None


def make_scene(row: Mapping[str, Any], size: int, seed: int, *, alt_mask: bool = False) -> SampleScene:
    """Make the scene of a row, `size` x `size` pixels; the same row, size and seed give the same scene.

    The scene has ``round(percent / 100 * size**2)`` pixels of cloud and of shadow, percentages as in the row, and all
    other pixels are clear.
    """
    dn, classes, alt_classes = pixels.synthesize(row, size, seed)
    reflectance = dn.astype("float32")
    reflectance /= np.float32(DN_PER_REFLECTANCE)
    return SampleScene(
        row=row,
        reflectance=reflectance,
        mask=_one_hot(classes),
        alt_mask=_one_hot(alt_classes) if alt_mask else None,
        outline=make_outline(row["scene"], size, seed),
        thumbnail=_thumbnail(reflectance),
    )


def _one_hot(classes: np.ndarray) -> np.ndarray:
    one_hot: np.ndarray = classes[:, :, None] == np.array(list(MaskClass), "uint8")
    return one_hot


def make_outline(scene: str, size: int, seed: int) -> Outline:
    """Place the outline of a scene, with the margin of published outlines, at whole pixels in the product's tile.

    Parameters
    ----------
    scene : str
        Product ID.
    size : int
        Rows and columns of the scene.
    seed : int
        The same gives the same place.
    """
    product = Product.parse(scene)
    left, top = square_corner(product.mgrs_tile)
    width = (size + 2 * OUTLINE_MARGIN) * PIXEL_SIZE
    places = max(1, int((SQUARE_SIZE - width) // PIXEL_SIZE))
    x, y = np.random.default_rng([seed, zlib.crc32(scene.encode())]).integers(0, places, 2).tolist()
    left, top = left + x * PIXEL_SIZE, top - y * PIXEL_SIZE
    return Outline(product.epsg, left, top - width, left + width, top)


def _thumbnail(reflectance: np.ndarray) -> np.ndarray:
    """Make the thumbnail of a scene: true colour at half the size, or at full size for small scenes."""
    step = 2 if len(reflectance) >= 64 else 1
    rgb = reflectance[::step, ::step, [BAND_NAMES.index(name) for name in ("B04", "B03", "B02")]]
    return (255 * np.clip(rgb, 0, 1) ** 0.6).astype("uint8")  # the power makes land bright and leaves snow its texture


def write_release(
    out: Path, scenes: Iterable[SampleScene], *, layout: Layout = "zip", arrays: ArrayFormat = "npy"
) -> Path:
    """Write scenes as a release, one at a time, the table from their rows; returns `out`."""
    with ReleaseWriter(out, layout=layout, arrays=arrays) as writer:
        _write(writer, scenes)
    return out


def _write(writer: ReleaseWriter, scenes: Iterable[SampleScene]) -> None:
    rows = []
    for scene in scenes:
        name = scene.row["scene"]
        rows.append(scene.row)
        writer.add_subscene(name, scene.reflectance)
        writer.add_mask(name, scene.mask)
        if scene.alt_mask is not None:
            writer.add_alt_mask(name, scene.alt_mask)
        if scene.outline is not None:
            writer.add_outline(name, scene.outline)
        if scene.thumbnail is not None:
            writer.add_thumbnail(name, scene.thumbnail)
    writer.write_table(to_table(rows))


def make_release(
    out: Path,
    *,
    scenes: int = 8,
    size: int = 256,
    seed: int = 0,
    quirks: bool = False,
    layout: Layout = "zip",
    arrays: ArrayFormat = "npy",
    table: pd.DataFrame | None = None,
) -> Path:
    """Make and write a synthetic release, holding one scene in memory at a time; returns `out`.

    Scenes outside dataset MAIN get an alternative mask, as in the real release.

    Parameters
    ----------
    out : Path
        Folder of the release; made if absent, refused if it holds anything.
    scenes, size, seed : int
        Number of scenes, their width in pixels, and the seed of all that is random. With `table`, `scenes` is ignored.
    quirks : bool
        Plant the known quirks of the real release (`QUIRKS`); `quirk_scenes` returns their scenes.
    layout, arrays : str
        See `ReleaseWriter`.
    table : pd.DataFrame, optional
        Rows to make scenes of, written verbatim. By default rows of `sample_table`, with the percentages of the masks.

    Raises
    ------
    CatalogueError
        If there are too few scenes for the quirks, or `table` lacks columns or is combined with `quirks`.
    """
    if quirks and table is not None:
        raise ArgumentError("quirks are planted in a sample table only; leave out `table`, or `quirks`")
    missing = [] if table is None else [name for name in TABLE_COLUMNS if name not in table.columns]
    if missing:
        raise ArgumentError(f"the table lacks the published columns {missing}; expected {list(TABLE_COLUMNS)}")
    rows = to_rows(sample_table(scenes, seed) if table is None else table)
    planted = {}
    if quirks:
        planted = {scene: name for name, scene in plant_in_rows(rows).items()}

    def sample_scenes() -> Iterator[SampleScene]:
        for row in rows:
            scene = make_scene(row, size, seed, alt_mask=row["dataset"] != "MAIN")
            if table is None:
                percent = (100 * scene.mask.sum((0, 1)) / size**2).tolist()
                scene = replace(scene, row=row | dict(zip(PERCENT_COLUMNS, percent, strict=True)))
            plant_in_pixels(scene.mask, scene.reflectance, planted.get(row["scene"]))
            yield scene

    with ReleaseWriter(out, layout=layout, arrays=arrays) as writer:
        writer.mark_synthetic()
        _write(writer, sample_scenes())
    return out
