"""Export scenes of a store as GeoTIFF, NumPy or PNG files, or as a smaller store."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, get_args

import xarray as xr

from s2cmc.errors import QueryError, StoreError, name_hint
from s2cmc.geo import position
from s2cmc.query import select
from s2cmc.release import SYNTHETIC_FILE, SYNTHETIC_TEXT, TABLE_FILE, ArrayFormat, encode_table
from s2cmc.schema import BAND_NAMES, JOURNAL_PLAN, ExportFormat
from s2cmc.storage import Access, Location, locate
from s2cmc.store import CHECKSUM_ATTRIBUTE, open_catalogue, open_group

from ..targets import Bucket, Folder, place_to_write, refuse_within_store, writing
from ..verify import Readback
from .geotiff import geotiff_files, refuse_unplaced
from .png import png_files
from .releases import check_parts, published_files
from .subset import export_command, write_subset

Progress = Callable[[int, int], None]
"""Called with the number of scenes, or shards of a store, done so far, and of all."""

_Files = Mapping[str, Callable[[], bytes]]
"""Makers of files by path: the content is made when one is called."""

_CONDITIONS = ("difficulty", "dataset", "annotator", "shadows_marked", "has_alt_mask", "time", "bbox")
"""Conditions of select that a command line can state too."""

_RELEASE_FORMATS = get_args(ArrayFormat)
"""Formats whose files are a release in the published layout."""

_JOURNAL = ".s2cmc-export"
_PLAN = f"{_JOURNAL}/plan.json"
_LOCK = f"{_JOURNAL}/lock"


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes
    ----------
    scenes : int
    written, kept : int
        Files, or shards of a store, that were written now, and that an earlier run had written.
    nbytes : int
        Bytes of both.
    others : int
        Files of other scenes in the same place, from earlier exports.
    """

    scenes: int
    written: int
    kept: int
    nbytes: int
    others: int = 0


def export(
    store: Location,
    out: Location,
    *,
    where: str | None = None,
    format: ExportFormat = "cog",  # noqa: A002, as the option is called
    split: str | None = None,
    scenes: Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    access: Access | None = None,
    out_access: Access | None = None,
    progress: Progress | None = None,
    **conditions: Any,
) -> Exported:
    """Write scenes of a store as files, or as a smaller store.

    Every file appears whole or not at all; a run that was killed is resumed by calling it again. File names begin with
    the product ID. Memory is bounded by `workers` times one scene and what is made of it: for scenes as published,
    about 400 MB and 150 MB more for each worker.

    Parameters
    ----------
    store : str or path
        Path or URL.
    out : str or path
        Folder, or ``s3://``, ``gs://`` or ``az://`` URL; empty, or with files of an earlier run.
    where : str, optional
        Tag expression, see `CloudsAccessor.select`; all scenes by default.
    format : {"cog", "geotiff", "npz", "npy", "png", "zarr"}
        Cloud-Optimized GeoTIFF and tiled GeoTIFF: DN, masks with colour table and names of categories, in the UTM zone
        of each scene. NumPy arrays in folders as published, which `convert` takes. PNG: true colour, and masks with a
        palette. Zarr: a smaller store.
    split : {"train", "test"}, optional
    scenes : sequence of str, optional
        Product IDs, or anything else that `CloudsAccessor.scene` takes; all conditions hold together.
    bands : sequence of str, optional
        Bands of the GeoTIFFs, in this order; all by default.
    parts : sequence of str, optional
        Parts of the published layout, for npz and npy, e.g. ``["subscenes", "masks"]``; all by default. A loader that
        finds two masks of a scene, one in ``alt_masks``, may drop this scene.
    workers : int, optional
        Threads; by default one for each core.
    overwrite : bool
        Replace the files of another export to `out`. Files of other origin, and stores that were converted, are never
        touched.
    access : Access, optional
        How `store` is reached.
    out_access : Access, optional
        How a bucket `out` is reached; by default as `store`, with the credentials of the environment.
    progress : callable, optional
        See `Progress`.
    **conditions
        ``difficulty``, ``dataset``, ``annotator``, ``shadows_marked``, ``has_alt_mask``, ``time`` and ``bbox`` as
        `CloudsAccessor.select` takes them; all conditions hold together.

    Returns
    -------
    Exported

    Raises
    ------
    QueryError
        If no scene is chosen, a condition is unknown, or a requested scene, band, part or format does not exist.
    CatalogueError
        If GeoTIFFs are requested of scenes without a georeference.
    StoreError
        If there is no catalogue at `store`, if `out` holds something else, is inside a store, or cannot be written.
    """
    if format not in get_args(ExportFormat):
        raise QueryError(f"format {format!r} is none of {', '.join(map(repr, get_args(ExportFormat)))}")
    _check_bands(bands, format)
    if parts is not None and format not in _RELEASE_FORMATS:
        raise QueryError(f"format {format!r} has no parts of a release, as npz and npy have; leave out `parts`")
    parts = check_parts(parts)
    if unknown := conditions.keys() - _CONDITIONS:
        raise QueryError(f"no condition {min(unknown)!r}; {name_hint(min(unknown), _CONDITIONS)}")
    conditions = {"split": split, **conditions}
    if isinstance(scenes, str):
        raise QueryError(f"scenes {scenes!r} is no list of product IDs")
    if workers is not None and workers < 1:
        raise QueryError(f"workers {workers} is less than 1")
    store, out = locate(store), locate(out)
    place = place_to_write(out, out_access or access)
    group = open_group(store, access)
    catalogue = open_catalogue(group.store, access or Access())  # the same version, whatever is published meanwhile
    positions = _positions(catalogue, store, where, conditions, scenes)
    workers = workers or os.cpu_count() or 1
    done: tuple[int, ...]
    with writing(out, lambda: "; what is done is kept, the same command resumes" if _is_begun(place) else ""):
        if format == "zarr":
            done = write_subset(
                group,
                positions,
                out,
                command=export_command(
                    store, out, where, conditions, scenes, {"-o": access, "--out-option": out_access}
                ),
                workers=workers,
                overwrite=overwrite,
                access=out_access or access,
                progress=progress,
            )
        else:
            stored = Readback(group)
            files = _scene_files(stored, group.attrs, positions, format, bands or BAND_NAMES, parts)
            common = _common_files(stored, group.attrs, positions, format)
            identity = {"store": group.attrs[CHECKSUM_ATTRIBUTE], "format": format, "bands": list(bands or BAND_NAMES)}
            if common:
                identity |= {"scenes": [stored.scenes[i] for i in positions], "parts": sorted(set(parts))}
            refuse_within_store(out, out_access or access)
            done = _export_files(place, identity, files, common, workers, overwrite, progress)
    return Exported(len(positions), *done)


def _is_begun(place: Folder | Bucket) -> bool:
    """Return True if there is an export to resume."""
    try:
        return any(place.read(plan) is not None for plan in (_PLAN, JOURNAL_PLAN))
    except (OSError, StoreError):
        return False


def _check_bands(bands: Sequence[str] | None, output: ExportFormat) -> None:
    if bands is None:
        return
    if output not in ("cog", "geotiff"):
        raise QueryError(f"format {output!r} holds all bands, or those of true colour; leave out `bands`")
    if isinstance(bands, str) or not bands:
        raise QueryError(f"bands {bands!r} is no list of names")
    if unknown := [band for band in bands if band not in BAND_NAMES]:
        raise QueryError(f"no band {unknown[0]!r}; there are {', '.join(BAND_NAMES)}")
    if len(set(bands)) < len(bands):
        raise QueryError(f"bands {', '.join(bands)}: one of them stands there twice")


def _positions(
    catalogue: xr.Dataset,
    store: str,
    where: str | None,
    conditions: Mapping[str, Any],
    scenes: Sequence[str] | None,
) -> list[int]:
    """Return the positions of the chosen scenes, in the order of the store."""
    names = [str(scene) for scene in catalogue["scene"].to_numpy()]
    chosen = {str(scene) for scene in select(catalogue, where, **conditions)["scene"].to_numpy()}
    if scenes is not None:
        chosen &= {names[position(catalogue, scene)] for scene in scenes}
    if not chosen:
        named = {"where": where, **conditions, "scenes": scenes and ", ".join(scenes)}
        description = ", ".join(f"{name} {value!r}" for name, value in named.items() if value is not None)
        raise QueryError(f"no scene of {store} meets {description}; there is nothing to export")
    return [i for i, name in enumerate(names) if name in chosen]


def _scene_files(
    stored: Readback,
    attributes: Mapping[str, Any],
    positions: Sequence[int],
    output: ExportFormat,
    bands: Sequence[str],
    parts: Sequence[str],
) -> list[_Files]:
    match output:
        case "npz" | "npy":
            return [published_files(stored, i, output, parts) for i in positions]
        case "png":
            return [png_files(stored, i) for i in positions]
        case _:
            refuse_unplaced(stored, positions)
            return [geotiff_files(stored, attributes, i, bands, cog=output == "cog") for i in positions]


def _common_files(
    stored: Readback, attributes: Mapping[str, Any], positions: Sequence[int], output: ExportFormat
) -> _Files:
    """Return the files of all scenes together: with them NumPy arrays are a release."""
    if output not in _RELEASE_FORMATS:
        return {}
    files: dict[str, Callable[[], bytes]] = {TABLE_FILE: lambda: encode_table(stored.table().iloc[list(positions)])}
    return files | {SYNTHETIC_FILE: SYNTHETIC_TEXT.encode} if attributes.get("synthetic") else files


def _export_files(
    place: Folder | Bucket,
    identity: dict[str, Any],
    scenes: Sequence[_Files],
    common: _Files,
    workers: int,
    overwrite: bool,
    progress: Progress | None,
) -> tuple[int, int, int, int]:
    names = [name for files in (*scenes, common) for name in files]
    _refuse_foreign(place)
    with place.claimed(_LOCK):
        _refuse_foreign(place)
        exported = _begin(place, identity, names, overwrite)
        present = place.sizes().keys() & set(names)
        _write_scenes(place, scenes, present, workers, progress)
        _write_files(place, common, present)
        sizes = place.sizes()
    others = (exported - set(names)) & sizes.keys()
    return len(names) - len(present), len(present), sum(sizes[name] for name in names), len(others)


def _refuse_foreign(place: Folder | Bucket) -> None:
    if place.read(_PLAN) is None and (others := place.top() - {_JOURNAL}):
        raise StoreError(f"{place.url} holds no export of s2cmc, but {min(others)}; choose another place")


def _begin(place: Folder | Bucket, identity: dict[str, Any], names: Sequence[str], overwrite: bool) -> set[str]:
    """Note the names of all files of this and earlier exports, and return them.

    Files of an earlier export of the same identity are kept; with `overwrite`, those of any export are removed.
    """
    before = _read_plan(place) or {"identity": identity}
    differing = [key for key in identity if before["identity"].get(key) != identity[key]]
    if differing and not overwrite:
        raise StoreError(
            f"{place.url} holds an export of another {' and '.join(differing)}; choose another place, "
            "or use --overwrite to replace it"
        )
    files = {*names, *before.get("files", ())}
    place.sweep({_PLAN, *files}.__contains__)
    if overwrite:
        for name in sorted(files & place.sizes().keys()):
            place.remove(name)
        files = set(names)
    place.put(_PLAN, json.dumps({"identity": identity, "files": sorted(files)}, indent=1).encode())
    return files


def _read_plan(place: Folder | Bucket) -> dict[str, Any] | None:
    """Return the plan of an earlier export; None if there was none, one with an empty identity if it is damaged."""
    content = place.read(_PLAN)
    try:
        plan = None if content is None else json.loads(content)
    except ValueError:
        plan = {}
    return plan if plan is None or "identity" in plan else {"identity": {}}


def _write_scenes(
    place: Folder | Bucket, scenes: Sequence[_Files], present: set[str], workers: int, progress: Progress | None
) -> None:
    """Write the files that are not `present`, scenes side by side."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-export")
    try:
        futures = [pool.submit(_write_files, place, files, present) for files in scenes]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress:
                progress(done, len(scenes))
    finally:
        pool.shutdown(cancel_futures=True)


def _write_files(place: Folder | Bucket, files: _Files, present: set[str]) -> None:
    for name, make in files.items():
        if name not in present:
            place.put(name, make(), durable=True)  # files that are present are not looked at again
