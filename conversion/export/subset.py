"""Smaller store: some scenes of a store as a catalogue of their own, as if they alone had been converted.

Stored values are copied as they are, through their checksums. Journal, lock and publication are those of a conversion,
so that an export resumes, and the store opens only when it is complete.
"""

import hashlib
import os
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import zarr

from s2cmc._redact import redacted
from s2cmc.errors import StoreError
from s2cmc.schema import FORMAT_VERSION, SCENE_COORDINATES, Product, ReflectanceType, dependence_groups, interval
from s2cmc.storage import Access
from s2cmc.store import (
    BUNDLE_ATTRIBUTE,
    BUNDLE_CHECKSUM_ATTRIBUTE,
    CHECKSUM_ATTRIBUTE,
    DIGESTS_ATTRIBUTE,
    DIGESTS_CHECKSUM_ATTRIBUTE,
    read_array,
)

from ..convert import Task
from ..layout import PixelArray, array_objects, mask_dtypes, pixel_arrays, shard_objects, store_objects
from ..targets import State, Target, digests_in, refuse_within_store
from ..verify import Readback

Progress = Callable[[int, int], None]

_COMMAND = "s2cmc export "
"""Beginning of the command of every smaller store."""


def write_subset(
    group: zarr.Group,
    positions: Sequence[int],
    out: str,
    *,
    command: str,
    workers: int,
    overwrite: bool = False,
    access: Access | None = None,
    progress: Progress | None = None,
) -> tuple[int, int, int]:
    """Write some scenes of a store as a store.

    Parameters
    ----------
    group : zarr.Group
        Group that `s2cmc.store.open_group` returned.
    positions : sequence of int
        Positions of the scenes, ascending, each once.
    out : str
        Folder, or URL of a bucket.
    command : str
        Command that resumes the export, for readers of an unfinished store.
    workers : int
        Threads.
    overwrite : bool
        Replace a finished export, or one that was started with other arguments; never a store that was converted.
    access : Access, optional
        How a bucket is reached; by default with the credentials of the environment.
    progress : callable, optional
        Called with the shards done so far, and with all.

    Returns
    -------
    written, kept, nbytes : int
        Shards written now, shards that an earlier run had written, bytes of the store.

    Raises
    ------
    StoreError
        If `out` holds something else, a store that was converted, or `group` itself, or a scene cannot be read.
    """
    stored = Readback(group)
    arrays = _arrays(stored, positions)
    tasks = [Task(array, first, last) for array in arrays.values() for first, last in array.spans()]
    target = Target(out, access)
    header = {"identity": _identity(stored, positions, arrays, group.attrs), "command": command}
    refuse_within_store(out, access, is_store=True)
    _refuse_target(target, group, overwrite)
    with target.claimed():
        _refuse_target(target, group, overwrite)
        _start_or_resume(target, header, arrays, overwrite)
        todo = [task for task in tasks if target.recorded(task.name) is None]
        _run_tasks(stored, positions, target, todo, len(tasks), workers, progress)
        attributes = _attributes(stored, positions, group)
        coordinates, digests = _coordinates(stored, positions), digests_in(target.records())
        target.publish(store_objects(arrays, coordinates, attributes, digests, stored.own))
    return len(todo), len(tasks) - len(todo), target.nbytes()


def export_command(
    store: str,
    out: str,
    where: str | None,
    conditions: Mapping[str, Any],
    scenes: Sequence[str] | None,
    accesses: Mapping[str, Access | None],
) -> str:
    """Return the command that starts and resumes the export of a store, without credentials: others may read it."""
    places = [redacted(place) if "://" in place else os.path.abspath(place) for place in (store, out)]
    listed = None if scenes is None else ",".join(scenes)
    options = {"--format": "zarr", "--where": where, "--scenes": listed}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    words += [word for name, value in conditions.items() if value is not None for word in _option(name, value)]
    for option, access in accesses.items():
        words += [word for item in (access or Access()).public_options().items() for word in (option, "=".join(item))]
    return _COMMAND + shlex.join([*places, *words])


def _option(condition: str, value: Any) -> list[str]:
    """Return the words of the command that state a condition of select."""
    option = condition.replace("_", "-")
    if isinstance(value, bool | np.bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if condition == "time":
        open_ends = interval((None, None))
        value = "/".join(".." if end in open_ends else str(end) for end in interval(value))
    elif condition == "bbox":
        value = ",".join(map(str, value))
    values = [value] if isinstance(value, str) or not isinstance(value, Collection) else value
    return [word for one in values for word in (f"--{option}", str(one))]


def _arrays(stored: Readback, positions: Sequence[int]) -> dict[str, PixelArray]:
    """Return the layout that a conversion of these scenes alone would choose."""
    _, height, width, _ = stored.array("reflectance").shape
    has_alt_mask, has_thumbnail = (stored.coordinates[name] for name in ("has_alt_mask", "has_thumbnail"))
    masks = {stored.scenes[i]: stored.mask_dtype("mask", i) for i in positions}
    alt_masks = {stored.scenes[i]: stored.mask_dtype("alt_mask", i) for i in positions if has_alt_mask[i]}
    dtype: ReflectanceType = "uint16" if stored.array("reflectance").dtype == np.uint16 else "float32"
    return pixel_arrays(
        len(positions),
        (height, width),
        reflectance=dtype,
        thumbnail=stored.thumbnail_size if has_thumbnail[positions].any() else None,
        from_dn=stored.is_from_dn,
        **mask_dtypes(masks, alt_masks),
    )


def _identity(
    stored: Readback, positions: Sequence[int], arrays: Mapping[str, PixelArray], attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the facts that must be equal for a started export to be resumed."""
    return {
        "format version": FORMAT_VERSION,
        "store": attributes[CHECKSUM_ATTRIBUTE],
        "scenes": [stored.scenes[i] for i in positions],
        "layout": hashlib.sha256(b"".join(array_objects(arrays).values())).hexdigest(),
    }


def _refuse_target(target: Target, group: zarr.Group, overwrite: bool) -> None:
    state = target.state()
    attributes = target.attributes() if state is State.FINISHED else {}
    if attributes and attributes.get(CHECKSUM_ATTRIBUTE) == group.attrs[CHECKSUM_ATTRIBUTE]:
        raise StoreError(f"{target.url} is the store that is to be exported; choose another place")
    command = str((target.header() or {}).get("command")) if state is State.STARTED else ""
    if (attributes and "subset" not in attributes) or (command and not command.startswith(_COMMAND)):
        raise StoreError(
            f"{target.url} is a store that was converted, and no export; remove it yourself, or choose another place"
        )
    target.check_free(overwrite=overwrite)


def _start_or_resume(target: Target, header: dict[str, Any], arrays: Mapping[str, PixelArray], overwrite: bool) -> None:
    started = target.header()
    before = started.get("identity", {}) if started is not None else {}
    differing = [key for key, value in header["identity"].items() if before.get(key) != value]
    if target.state() is State.STARTED and started is not None and differing and not overwrite:
        raise StoreError(
            f"{target.url} holds what was started with another {' and '.join(differing)}; finish it with "
            f"`{started.get('command', 'the command that started it')}`, or use --overwrite to start anew"
        )
    target.begin(header, array_objects(arrays), same=started is not None and not differing)


def _run_tasks(
    stored: Readback,
    positions: Sequence[int],
    target: Target,
    todo: Sequence[Task],
    total: int,
    workers: int,
    progress: Progress | None,
) -> None:
    if progress:
        progress(total - len(todo), total)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-export")
    try:
        futures = [pool.submit(_copy, stored, positions, target, task) for task in todo]
        for done, future in enumerate(as_completed(futures), start=total - len(todo) + 1):
            future.result()
            if progress:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)


def _copy(stored: Readback, positions: Sequence[int], target: Target, task: Task) -> None:
    pixels = read_array(stored.array(task.array.name), np.array(positions[task.first : task.last]))
    shards = shard_objects(task.array, task.first, pixels)
    digests = {key: task.array.digest(shard) for key, shard in shards.items()}
    target.record(task.name, "", [], target.write(shards), digests)


def _coordinates(stored: Readback, positions: Sequence[int]) -> dict[str, np.ndarray]:
    coordinates = {c.name: stored.coordinates[c.name][positions] for c in (*SCENE_COORDINATES, *stored.own)}
    coordinates["time"] = coordinates["time"].astype("datetime64[s]")
    coordinates["group"] = np.array(dependence_groups([Product.parse(stored.scenes[i]) for i in positions]))
    return coordinates


def _attributes(stored: Readback, positions: Sequence[int], group: zarr.Group) -> dict[str, Any]:
    own = {CHECKSUM_ATTRIBUTE, BUNDLE_ATTRIBUTE, BUNDLE_CHECKSUM_ATTRIBUTE}
    own |= {DIGESTS_ATTRIBUTE, DIGESTS_CHECKSUM_ATTRIBUTE}
    attributes = {name: value for name, value in group.attrs.items() if name not in own}
    times = stored.coordinates["time"][positions].astype("datetime64[s]")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    part = f"{len(positions)} of {len(stored.scenes)} scenes"
    return attributes | {
        "subset": f"{part} of the store whose {CHECKSUM_ATTRIBUTE} is {group.attrs[CHECKSUM_ATTRIBUTE]}; "
        "source_fingerprint is that of all files it was converted from",
        "time_coverage_start": f"{times.min()}Z",
        "time_coverage_end": f"{times.max()}Z",
        "date_created": now,
        "history": f"{attributes['history']}\n{now} {part} exported by s2cmc {version('s2cmc')}",
    }
