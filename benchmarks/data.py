"""What is measured: releases and stores of full-size scenes, made once and kept.

The folder is ``S2CMC_BENCH_DATA``, or ``build/bench-data``. Eight of 16 scenes are the sample maker's, eight are the
real pixels of ``../shared/data/real`` mirrored to 1022 x 1022, each turned otherwise; without that folder all are the
sample maker's. All 513 masks are smooth random fields with the shares of the genuine table.
"""

import lzma
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.layout.arrays import PixelArray, pixel_arrays, shard_objects, store_objects
from s2cmc.conversion.layout.attributes import GLOBAL_ATTRIBUTES, SYNTHETIC_ATTRIBUTES
from s2cmc.conversion.source.checks import count_labels
from s2cmc.conversion.source.coordinates import (
    geo_coordinates,
    product_coordinates,
    quality_coordinates,
    table_coordinates,
)
from s2cmc.release import ReleaseWriter
from s2cmc.schema.catalogue import DN_PER_REFLECTANCE, FORMAT_VERSION, MaskClass
from s2cmc.schema.products import Product
from s2cmc.synthetic.make import SampleScene, make_scene, write_release
from s2cmc.synthetic.table import sample_table, to_rows, to_table

SIZE = 1022
SCENES = 16
MANY = 64
ALL = 513
SHARED = Path(__file__).parents[2] / "shared" / "data"
REAL = SHARED / "real" / "T18SVG_20160112_20m_13band_dn.npy.xz"
CLOUDY = SHARED / "real" / "cloudy_6band_dn.npy.xz"


def bench_data() -> Path:
    """Folder that keeps what was made."""
    folder = Path(os.environ.get("S2CMC_BENCH_DATA", Path(__file__).parents[1] / "build" / "bench-data"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def kept(path: Path, make: Callable[[Path], object]) -> Path:
    """A file or folder as `make` writes it, unless it is there; one that was cut short is made anew."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"unfinished-{path.name}")
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        unfinished.unlink(missing_ok=True)
        make(unfinished)
        unfinished.rename(path)
    return path


def table() -> pd.DataFrame:
    """Rows of 513 scenes: the genuine table, or one of made-up products."""
    genuine = SHARED / "classification_tags.csv"
    return pd.read_csv(genuine) if genuine.is_file() else sample_table(ALL)


def scenes_release() -> Path:
    """16 scenes as published; the second half are real pixels where these are at hand."""
    return kept(bench_data() / "scenes" / "release", lambda out: write_release(out, _scenes()))


def scenes_store() -> Path:
    """The store of `scenes_release`, converted."""
    return kept(
        bench_data() / "scenes" / f"store-{FORMAT_VERSION}", lambda out: convert(str(scenes_release()), str(out))
    )


def real_scenes() -> range:
    """Positions of the scenes with real pixels."""
    return range(SCENES // 2, SCENES) if REAL.is_file() else range(0)


def masks_release() -> Path:
    """The table and ``masks.zip`` of 513 scenes, without their reflectance."""
    return kept(bench_data() / "masks" / "release", _write_masks)


def masks_store() -> Path:
    """A store of 513 scenes; the reflectance of each is a hard link to one of the 16 shards of `scenes_store`."""
    return kept(bench_data() / "masks" / f"store-{FORMAT_VERSION}", lambda out: _write_store(out, ALL))


def many_store() -> Path:
    """A store of 64 scenes, made like `masks_store`."""
    return kept(bench_data() / "many" / f"store-{FORMAT_VERSION}", lambda out: _write_store(out, MANY))


def many_release() -> Path:
    """64 scenes in folders; each array is a hard link to one of the 16 of `scenes_release`."""
    return kept(bench_data() / "many" / "release", _link_arrays)


def _link_arrays(out: Path) -> None:
    rows = table().iloc[:MANY]
    scenes = rows["scene"].tolist()
    for part in ("subscenes", "masks"):
        with zipfile.ZipFile(scenes_release() / f"{part}.zip") as archive:
            for scene in scenes[:SCENES]:
                archive.extract(f"{part}/{scene}.npy", out)
        for position, scene in enumerate(scenes[SCENES:]):
            (out / part / f"{scene}.npy").hardlink_to(out / part / f"{scenes[position % SCENES]}.npy")
    rows.to_csv(out / "classification_tags.csv", index=False)


def _scenes() -> Iterator[SampleScene]:
    rows = to_rows(table().iloc[:SCENES])
    turned = _turned() if REAL.is_file() else iter(())
    for position, row in enumerate(rows):
        if position in real_scenes():
            reflectance = next(turned).astype(np.float32) / np.float32(DN_PER_REFLECTANCE)
            yield SampleScene(row, reflectance, _one_hot(smooth_labels(row)), None, None, None)
        else:
            yield replace(make_scene(row, SIZE, seed=0), outline=None, thumbnail=None)


def _turned() -> Iterator[np.ndarray]:
    """The real pixels (y, x, band), DN, mirrored to full size: in all eight ways a square may be turned."""
    square = np.moveaxis(_full_size(REAL), 0, -1)
    for quarters in range(4):
        turned = np.rot90(square, quarters)
        yield np.ascontiguousarray(turned)
        yield np.ascontiguousarray(turned.swapaxes(0, 1))


def _full_size(path: Path) -> np.ndarray:
    """Real pixels (band, y, x), DN, mirrored to full size."""
    with lzma.open(path) as file:
        dn = np.load(file)
    return np.pad(dn, ((0, 0), (0, SIZE - dn.shape[1]), (0, SIZE - dn.shape[2])), "symmetric")


def clear_scene() -> np.ndarray:
    """The real pixels (band, y, x), DN, of an almost cloudless coast."""
    return _full_size(REAL)


def cloudy_scene() -> np.ndarray:
    """The real cloudy pixels (band, y, x), DN; its six bands stand for those beside them too."""
    return _full_size(CLOUDY)[[0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5]]


def smooth_labels(row: dict[str, Any]) -> np.ndarray:
    """Labels (y, x) uint8 with the shares that a row says, in smooth patches; deflated about 14 kB on average."""
    rng = np.random.default_rng(int(row["index"]))
    field = _field(rng, 22) + np.float32(0.15) * _field(rng, 88)
    cloud, shadow = (round(row[name] / 100 * field.size) for name in ("cloud_percent", "shadow_percent"))
    first_cloud, first_shadow = field.size - cloud, field.size - cloud - shadow
    ranked = np.partition(field.ravel(), [min(n, field.size - 1) for n in (first_shadow, first_cloud)])
    labels = np.zeros(field.shape, np.uint8)
    if shadow:
        labels[field >= ranked[first_shadow]] = MaskClass.CLOUD_SHADOW
    if cloud:
        labels[field >= ranked[first_cloud]] = MaskClass.CLOUD
    return labels


def _field(rng: np.random.Generator, nodes: int) -> np.ndarray:
    """Noise at `nodes` x `nodes` points, interpolated linearly in between."""
    place = np.linspace(0, nodes - 1, SIZE)
    left = np.minimum(place.astype(int), nodes - 2)
    weights = np.zeros((SIZE, nodes), np.float32)
    weights[np.arange(SIZE), left] = 1 - (place - left)
    weights[np.arange(SIZE), left + 1] = place - left
    return weights @ rng.standard_normal((nodes, nodes), dtype=np.float32) @ weights.T


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return labels[:, :, None] == np.array(list(MaskClass), np.uint8)


def _write_masks(out: Path) -> None:
    rows = to_rows(table())
    with ReleaseWriter(out) as writer:
        for row in rows:
            writer.add_mask(row["scene"], _one_hot(smooth_labels(row)))
        writer.write_table(to_table(rows))


def _write_store(out: Path, scenes: int) -> None:
    """A store of the first scenes of the table, by the layout of the converter.

    Its reflectance would be 15 GB, so that shards that are alike share one file.
    """
    write_but_reflectance(out, store_arrays(scenes))
    _link_shards(out, scenes, sorted((scenes_store() / "reflectance/c").glob("*/0/0/0")))


def store_arrays(scenes: int) -> dict[str, PixelArray]:
    """Reflectance and masks by the layout of the converter."""
    arrays = pixel_arrays(
        scenes, (SIZE, SIZE), reflectance="uint16", mask_dtype="bool", alt_mask_dtype="bool", thumbnail=None
    )
    del arrays["alt_mask"]
    return arrays


def write_but_reflectance(out: Path, arrays: dict[str, PixelArray]) -> None:
    """A store of the first scenes of the table, without the shards of its reflectance."""
    scenes = arrays["mask"].shape[0]
    rows = table().iloc[:scenes]
    findings = []
    mask = arrays["mask"]
    for first, last in mask.spans():
        labels = np.full((last - first, SIZE, SIZE), mask.fill_value, np.uint8)
        labels[:] = [smooth_labels(row) for row in to_rows(rows.iloc[first:last])]
        findings += [{"mask": count_labels(one), "reflectance": _WITHOUT_EXTREMES} for one in labels]
        write_objects(out, shard_objects(mask, first, labels))
    products = [Product.parse(scene) for scene in rows["scene"]]
    coordinates = (
        table_coordinates(rows)
        | product_coordinates(products)
        | geo_coordinates([None] * scenes, [-1] * scenes)
        | quality_coordinates(rows, findings, pixels=SIZE**2, has_thumbnail=[False] * scenes)
    )
    digests = {array.key(first): "0" * 64 for array in arrays.values() for first, _ in array.spans()}
    write_objects(out, store_objects(arrays, coordinates, GLOBAL_ATTRIBUTES | SYNTHETIC_ATTRIBUTES, digests))


_WITHOUT_EXTREMES = {"zero_pixels": 0, "saturated_pixels": 0, "nonfinite_pixels": 0}


def _link_shards(out: Path, scenes: int, shards: Sequence[Path]) -> None:
    for scene in range(scenes):
        link = out / f"reflectance/c/{scene}/0/0/0"
        link.parent.mkdir(parents=True)
        link.hardlink_to(shards[scene % len(shards)])


def write_objects(out: Path, objects: dict[str, bytes]) -> None:
    """Objects of a store, by key."""
    for key, content in objects.items():
        (out / key).parent.mkdir(parents=True, exist_ok=True)
        (out / key).write_bytes(content)


def load_zipped(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """An array of a published zip, read member by member."""
    with archive.open(member) as file:
        return np.load(file)


def dn_scenes() -> Iterable[np.ndarray]:
    """The scenes of `scenes_release`, (band, y, x) uint16 DN."""
    with zipfile.ZipFile(scenes_release() / "subscenes.zip") as archive:
        for scene in table()["scene"][:SCENES]:
            reflectance = load_zipped(archive, f"subscenes/{scene}.npy")
            dn = np.rint(reflectance * np.float32(DN_PER_REFLECTANCE)).astype(np.uint16)
            yield np.ascontiguousarray(np.moveaxis(dn, -1, 0))


def label_scenes(scenes: int) -> Iterable[np.ndarray]:
    """Labels (y, x) uint8 of the first scenes: those of the store, for formats that hold them too."""
    import zarr

    store = scenes_store() if scenes == SCENES else masks_store()
    mask = zarr.open_group(store, mode="r")["mask"]
    for first in range(0, scenes, 8):
        yield from mask[first : min(first + 8, scenes)]
