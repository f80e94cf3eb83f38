"""Load the checked pixels of one shard from the files of its scenes."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from s2cmc.errors import CatalogueError, SceneError
from s2cmc.files import open_array

from ..layout import PixelArray, shard_object
from ..records import RecordError
from ..source import (
    CHECKED_ROWS,
    Member,
    SceneSource,
    check_mask,
    check_subscene,
    count_extremes,
    count_labels,
    fill_dn,
    fill_floats,
    keep_thumbnail,
    look_at_scene,
    look_at_thumbnail,
    open_content,
    published_dtype,
    to_labels,
)
from .plan import Plan, Task


@dataclass
class Block:
    """Checked scenes of one shard.

    Attributes
    ----------
    findings : list of dict
        Counts and other facts, one dict for each scene; empty for a scene without this variable.
    problems : list of str
        Reasons why scenes cannot be stored.
    """

    findings: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def encode_block(plan: Plan, task: Task) -> tuple[bytes, Block]:
    """Read, check, count and encode the scenes of one shard, one scene after the other.

    Returns
    -------
    shard : bytes
        The object; of no use if there are problems.
    block : Block
    """
    block = Block()
    # After a problem, the scenes that remain are checked, but not encoded.
    pixels = (scene[np.newaxis] for scene in _load_scenes(plan, task, block) if not block.problems)
    return shard_object(task.array, pixels), block


def load_block(plan: Plan, task: Task) -> tuple[np.ndarray, Block]:
    """Read, check and count the scenes of one shard.

    Returns
    -------
    pixels : ndarray (scene, ...)
        Along the dimensions of the array; undefined if there are problems.
    block : Block
    """
    pixels = np.empty((task.last - task.first, *task.array.shape[1:]), task.array.dtype)
    block = Block()
    for out, scene in zip(pixels, _load_scenes(plan, task, block), strict=True):
        out[...] = scene
    return pixels, block


def _load_scenes(plan: Plan, task: Task, block: Block) -> Iterator[np.ndarray]:
    """Yield the pixels of each scene of a shard, and add to `block` what was counted in them or is wrong.

    Problems of a scene are collected, so that one run finds all of them.
    """
    load = _LOADERS[task.array.name]
    for source in plan.release.scenes[task.first : task.last]:
        pixels = _empty_scene(task.array)
        try:
            block.findings.append(load(plan, source, pixels))
        except RecordError:  # all other scenes would wait as long, and end in the same way
            raise
        except CatalogueError as error:
            block.problems.append(str(error))
        yield pixels


def _empty_scene(array: PixelArray) -> np.ndarray:
    """Make the array for the pixels of a scene. Bands of reflectance are contiguous in memory, as chunks are.

    A scene of reflectance (1022, 1022, 13) is a view of memory (13, 1022, 1022); its chunks (512, 512, 1) are then cut
    from rows of one band.
    """
    if array.name != "reflectance":
        return np.full(array.shape[1:], array.fill_value, array.dtype)
    height, width, bands = array.shape[1:]
    return np.moveaxis(np.empty((bands, height, width), array.dtype), 0, -1)


def _load_reflectance(plan: Plan, source: SceneSource, out: np.ndarray) -> dict[str, Any]:
    with open_content(source.subscene) as content:
        reflectance = open_array(content, source.subscene.path)
        check_subscene(reflectance, plan.size, source.scene)
        blocks = reflectance.blocks(CHECKED_ROWS)
        if plan.options.reflectance == "float32":
            fill_floats(out, blocks, source.scene)
        else:
            fill_dn(np.moveaxis(out, -1, 0), blocks, source.scene, from_dn=plan.options.from_dn)
    # Read to its end, also a member that streamed by has its identity.
    return count_extremes(out) | {"look": look_at_scene(out), "source": source.subscene.identity}


def _load_mask(plan: Plan, source: SceneSource, out: np.ndarray) -> dict[str, Any]:
    counts = _load_labels(plan, source, source.mask, "mask", out)
    return counts | {"crc": zlib.crc32(np.ascontiguousarray(out))}


def _load_alt_mask(plan: Plan, source: SceneSource, out: np.ndarray) -> dict[str, Any]:
    if source.alt_mask is None:
        return {}
    counts = _load_labels(plan, source, source.alt_mask, "alt_mask", out)
    mask = np.empty_like(out)
    _load_labels(plan, source, source.mask, "mask", mask)
    return counts | {"agreeing": int(np.count_nonzero(mask == out))}


def _load_labels(plan: Plan, source: SceneSource, member: Member, name: str, out: np.ndarray) -> dict[str, Any]:
    expected = published_dtype(plan.arrays[name].attributes, source.scene)
    with open_content(member) as content:
        one_hot = open_array(content, member.path)
        if str(one_hot.dtype) != expected:
            raise SceneError(
                source.scene,
                f"its {name} is {one_hot.dtype}, the first one {expected}; masks of several dtypes are taken from zips "
                "and local folders only: download the release",
            )
        check_mask(one_hot, plan.size, source.scene, f"{name}s")
        out[...] = to_labels(one_hot.read(), plan.size, source.scene, f"{name}s")
    return count_labels(out)


def _load_thumbnail(_: Plan, source: SceneSource, out: np.ndarray) -> dict[str, Any]:
    if source.thumbnail is None:
        return {}
    rgb, reason = keep_thumbnail(source.thumbnail, out.shape[:2])
    if rgb is None:
        return {"absent": reason}
    out[...] = rgb
    return {"kept": True} | look_at_thumbnail(rgb)


_LOADERS: dict[str, Callable[[Plan, SceneSource, np.ndarray], dict[str, Any]]] = {
    "reflectance": _load_reflectance,
    "mask": _load_mask,
    "alt_mask": _load_alt_mask,
    "thumbnail": _load_thumbnail,
}
