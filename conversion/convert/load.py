"""Load the checked pixels of one shard from the files of its scenes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from s2cmc.errors import CatalogueError, SceneError
from s2cmc.files import THUMBNAIL_BYTES, open_array

from ..layout import PixelArray, shard_object
from ..source import (
    CHECKED_ROWS,
    Member,
    SceneSource,
    check_mask,
    check_subscene,
    count_extremes,
    count_labels,
    fill_dn,
    open_content,
    read_thumbnail,
    to_labels,
)
from .plan import Plan, Task


@dataclass
class Block:
    """Checked scenes of one shard.

    Attributes
    ----------
    findings : list of dict of str to int
        Counts, one dict for each scene; empty for a scene without this variable.
    problems : list of str
        Reasons why scenes cannot be stored.
    """

    findings: list[dict[str, int]] = field(default_factory=list)
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


def _load_reflectance(plan: Plan, source: SceneSource, out: np.ndarray) -> dict[str, int]:
    with open_content(source.subscene) as content:
        reflectance = open_array(content, source.subscene.path)
        check_subscene(reflectance, plan.size, source.scene)
        blocks = reflectance.blocks(CHECKED_ROWS)
        if plan.options.reflectance == "float32":
            for i, block in enumerate(blocks):
                out[i * CHECKED_ROWS : (i + 1) * CHECKED_ROWS] = block
        else:
            fill_dn(np.moveaxis(out, -1, 0), blocks, source.scene)
    return count_extremes(out)


def _load_mask(plan: Plan, source: SceneSource, out: np.ndarray) -> dict[str, int]:
    return _load_labels(plan, source, source.mask, "mask", out)


def _load_alt_mask(plan: Plan, source: SceneSource, out: np.ndarray) -> dict[str, int]:
    if source.alt_mask is None:
        return {}
    return _load_labels(plan, source, source.alt_mask, "alt_mask", out)


def _load_labels(plan: Plan, source: SceneSource, member: Member, name: str, out: np.ndarray) -> dict[str, int]:
    expected = plan.arrays[name].attributes["source_dtype"]
    with open_content(member) as content:
        one_hot = open_array(content, member.path)
        if str(one_hot.dtype) != expected:
            raise SceneError(
                source.scene,
                f"its {name} is {one_hot.dtype}, the first one {expected}; one store holds masks of one dtype",
            )
        check_mask(one_hot, plan.size, source.scene, f"{name}s")
        out[...] = to_labels(one_hot.read(), plan.size, source.scene, f"{name}s")
    return count_labels(out)


def _load_thumbnail(_: Plan, source: SceneSource, out: np.ndarray) -> dict[str, int]:
    if source.thumbnail is None:
        return {}
    rgb = read_thumbnail(source.thumbnail.read(THUMBNAIL_BYTES), source.thumbnail.path)
    if rgb.shape != out.shape:
        raise SceneError(
            source.scene,
            f"its thumbnail has shape {rgb.shape}, the first one {out.shape}; one store holds thumbnails of one size: "
            "convert with --no-thumbnails",
        )
    out[...] = rgb
    return {}


_LOADERS: dict[str, Callable[[Plan, SceneSource, np.ndarray], dict[str, int]]] = {
    "reflectance": _load_reflectance,
    "mask": _load_mask,
    "alt_mask": _load_alt_mask,
    "thumbnail": _load_thumbnail,
}
