"""Plan of a conversion: arrays, tasks and identity, before anything is written."""

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2cmc._redact import redacted
from s2cmc.errors import SceneError
from s2cmc.files import SIDE, THUMBNAIL_BYTES, open_array
from s2cmc.schema import FORMAT_VERSION, Outline, ReflectanceType

from ..layout import PixelArray, array_objects, pixel_arrays
from ..source import (
    Member,
    Release,
    SceneSource,
    check_mask,
    check_subscene,
    open_content,
    read_outlines,
    read_thumbnail,
)


@dataclass(frozen=True)
class Options:
    """Choices that shape a store; a started conversion is resumed only under the same.

    Attributes
    ----------
    reflectance : {"uint16", "float32"}
        Digital numbers, or the published floats as they are.
    thumbnails : bool
        Keep the thumbnails.
    """

    reflectance: ReflectanceType = "uint16"
    thumbnails: bool = True


@dataclass(frozen=True)
class Task:
    """One shard of one array: the scenes from `first` up to, not including, `last`."""

    array: PixelArray
    first: int
    last: int

    @property
    def name(self) -> str:
        """Name in the journal, e.g. ``mask-000064``."""
        return f"{self.array.name}-{self.first:06d}"

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels of the shard."""
        return (self.last - self.first) * int(np.prod(self.array.shape[1:])) * np.dtype(self.array.dtype).itemsize


@dataclass(frozen=True)
class Plan:
    """A release, the layout of its store, and all that is known of its scenes without reading pixels.

    Attributes
    ----------
    release : Release
    options : Options
    arrays : mapping of str to PixelArray
    outlines : tuple of Outline or None
        Outlines as published, one for each scene.
    margins : tuple of int
        Pixels between outline and array; -1 without an outline.
    """

    release: Release
    options: Options
    arrays: Mapping[str, PixelArray]
    outlines: tuple[Outline | None, ...]
    margins: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (y, x) of a scene."""
        _, height, width = self.arrays["mask"].shape
        return height, width

    def tasks(self) -> list[Task]:
        """Return a task for every shard of the store."""
        return [Task(array, first, last) for array in self.arrays.values() for first, last in array.spans()]

    def sources(self, task: Task) -> str:
        """Return the fingerprint of the files that a task reads."""
        return self.release.fingerprint(task.array.name, task.first, task.last)

    def identity(self) -> dict[str, Any]:
        """Return the facts that must be equal for a started conversion to be resumed."""
        return {
            "format version": FORMAT_VERSION,
            "release": self.release.table_md5,
            "scenes": [source.scene for source in self.release.scenes],
            "reflectance": self.options.reflectance,
            "thumbnails": self.options.thumbnails,
            "layout": hashlib.sha256(b"".join(array_objects(self.arrays).values())).hexdigest(),
        }

    def command(
        self,
        store: str,
        requested_scenes: Sequence[str] | None,
        store_options: Mapping[str, str],
        *,
        scheduler: str | None = None,
    ) -> str:
        """Return the command that starts and resumes this conversion, without credentials: others may read it."""
        places = [redacted(place) if "://" in place else os.path.abspath(place) for place in (self.release.url, store)]
        words = ["s2cmc", "convert", *places]
        if self.options.reflectance != "uint16":
            words += ["--reflectance", self.options.reflectance]
        if not self.options.thumbnails:
            words.append("--no-thumbnails")
        if requested_scenes is not None:
            words += ["--scenes", ",".join(requested_scenes)]
        if scheduler is not None:
            words += ["--scheduler", scheduler]
        for name, value in store_options.items():
            words += ["-o", f"{name}={value}"]
        return shlex.join(words)


def make_plan(release: Release, options: Options) -> Plan:
    """Plan a conversion: read the headers of the first arrays for size and dtypes, and every outline.

    Raises
    ------
    ReleaseError
        If the first arrays or any outlines are not as published; one line for each.
    """
    first = release.scenes[0]
    size = _subscene_size(first)
    with_alt = [(source, source.alt_mask) for source in release.scenes if source.alt_mask]
    mask_dtype = _mask_dtype(first, first.mask, "masks", size)
    with_thumbnail = [source.thumbnail for source in release.scenes if source.thumbnail] if options.thumbnails else []
    arrays = pixel_arrays(
        len(release.scenes),
        size,
        reflectance=options.reflectance,
        mask_dtype=mask_dtype,
        alt_mask_dtype=_mask_dtype(*with_alt[0], "alt_masks", size) if with_alt else mask_dtype,
        thumbnail=_thumbnail_size(with_thumbnail[0]) if with_thumbnail else None,
    )
    outlines, margins = read_outlines(release.scenes, size)
    return Plan(release, options, arrays, outlines, margins)


def _subscene_size(source: SceneSource) -> tuple[int, int]:
    """Return the pixels (y, x) of a subscene; only its header is read, unless the file is smaller than that says."""
    with open_content(source.subscene) as content:
        subscene = open_array(content, source.subscene.path)
        check_subscene(subscene, subscene.shape[:2], source.scene)
        height, width, _ = subscene.shape
        if not (0 < height <= SIDE and 0 < width <= SIDE):
            raise SceneError(
                source.scene, f"its subscene has {height} x {width} pixels; expected at least 1 and at most {SIDE} each"
            )
        if subscene.nbytes > source.subscene.nbytes:
            subscene.check_size()
    return height, width


def _mask_dtype(source: SceneSource, member: Member, part: str, size: tuple[int, int]) -> str:
    """Return the dtype of the masks, from the header of one."""
    with open_content(member) as content:
        mask = open_array(content, member.path)
        check_mask(mask, size, source.scene, part)
    return str(mask.dtype)


def _thumbnail_size(member: Member) -> tuple[int, int]:
    height, width, _ = read_thumbnail(member.read(THUMBNAIL_BYTES), member.path).shape
    return height, width
