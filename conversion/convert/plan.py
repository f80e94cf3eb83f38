"""Plan of a conversion: arrays, tasks and identity, before anything is written."""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2cmc._redact import redacted
from s2cmc.errors import ArgumentError
from s2cmc.schema import FORMAT_VERSION, SOURCE_VALUES, Outline, ReflectanceType

from ..layout import PixelArray, array_objects, mask_dtypes, pixel_arrays
from ..source import Release, own_coordinates, read_headers, read_outlines


@dataclass(frozen=True)
class Options:
    """Choices that shape a store; a started conversion is resumed only under the same.

    Attributes
    ----------
    reflectance : {"uint16", "float32"}
        Digital numbers, or the published floats as they are.
    thumbnails : bool
        Keep the thumbnails.
    from_dn : bool
        The arrays of the release hold DN as float32, not reflectance.
    """

    reflectance: ReflectanceType = "uint16"
    thumbnails: bool = True
    from_dn: bool = False

    def __post_init__(self) -> None:
        """Check that the options fit each other."""
        if self.from_dn and self.reflectance != "uint16":
            raise ArgumentError("DN are stored as uint16; leave out reflectance='float32', or from_dn")


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
        """Return the fingerprint of all that a shard and its findings depend on: scenes, files, and encoding."""
        scenes = [source.scene for source in self.release.scenes[task.first : task.last]]
        variables = ("alt_mask", "mask") if task.array.name == "alt_mask" else (task.array.name,)  # both are compared
        files = [self.release.fingerprint(name, task.first, task.last) for name in variables]
        return hashlib.sha256(" ".join([*scenes, *files, _encoding(task.array)]).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """Return the facts that must be equal for a started conversion to be resumed."""
        return {
            "format version": FORMAT_VERSION,
            "release": self.release.table_md5,
            "scenes": [source.scene for source in self.release.scenes],
            "reflectance": self.options.reflectance,
            "thumbnails": self.options.thumbnails,
            "DN or reflectance": "DN" if self.options.from_dn else "reflectance",
            "layout": hashlib.sha256(b"".join(array_objects(self.arrays).values())).hexdigest(),
        }

    def command(
        self,
        store: str,
        requested_scenes: Sequence[str] | None,
        store_options: Mapping[str, str],
        *,
        skipped_scenes: Sequence[str] = (),
        scheduler: str | None = None,
    ) -> str:
        """Return the command that starts and resumes this conversion, without credentials: others may read it."""
        release = self.release.url if self.release.record else _absolute(self.release.url)
        words = ["s2cmc", "convert", release, _absolute(store)]
        if self.options.reflectance != "uint16":
            words += ["--reflectance", self.options.reflectance]
        if not self.options.thumbnails:
            words.append("--no-thumbnails")
        if self.options.from_dn:
            words.append("--from-dn")
        if own_coordinates(self.release.table):
            words.append("--keep-columns")
        if requested_scenes is not None:
            words += ["--scenes", ",".join(requested_scenes)]
        if skipped_scenes:
            words += ["--skip", ",".join(skipped_scenes)]
        if scheduler is not None:
            words += ["--scheduler", scheduler]
        for name, value in store_options.items():
            words += ["-o", f"{name}={value}"]
        return shlex.join(words)


def _absolute(place: str) -> str:
    return redacted(place) if "://" in place else os.path.abspath(place)


def _encoding(array: PixelArray) -> str:
    """Return what the bytes of a shard depend on beside its pixels: all but the number of scenes and their dtypes."""
    facts = (array.chunks, array.shards, array.dtype, array.compressor.to_dict(), array.fill_value)
    return json.dumps([*facts, array.attributes.get(SOURCE_VALUES)], sort_keys=True)


def make_plan(release: Release, options: Options, *, whole: bool = True) -> Plan:
    """Plan a conversion: read the headers of arrays and thumbnails, and every outline.

    With `whole` false an array that is wrong is an error only when it is needed.

    Raises
    ------
    ReleaseError
        If arrays or outlines are not as published; one line for each.
    """
    headers = read_headers(release.scenes, thumbnails=options.thumbnails, whole=whole)
    arrays = pixel_arrays(
        len(release.scenes),
        headers.size,
        reflectance=options.reflectance,
        thumbnail=headers.thumbnail,
        from_dn=options.from_dn,
        **mask_dtypes(headers.masks, headers.alt_masks),
    )
    outlines, margins = read_outlines(release.scenes, headers.size)
    return Plan(release, options, arrays, outlines, margins)
