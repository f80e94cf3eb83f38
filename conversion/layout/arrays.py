"""Layout of a store: chunks, shards, codecs and metadata of every array, and encoding of shards."""

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import zarr
from numcodecs.abc import Codec
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from s2cmc.schema import (
    BAND_NAMES,
    DIMS,
    DN_PER_REFLECTANCE,
    MASK_MISSING,
    RGB_NAMES,
    SCENE_COORDINATES,
    SOURCE_VALUES,
    ReflectanceType,
    SceneCoordinate,
    bundled_names,
)
from s2cmc.store import (
    BUNDLE,
    DIGESTS,
    ROOT,
    bundle_attributes,
    compact_json,
    digest_attributes,
    digest_of,
    pack_bundle,
    pack_digests,
    with_checksum,
)

from .attributes import VARIABLE_ATTRIBUTES
from .axes import Coordinate, fixed_coordinates

# Shards are objects of Zarr's sharding codec, but are encoded without zarr, whose own way costs much more.

_ABSENT = 2**64 - 1
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


def encode_shard(
    blocks: Iterable[np.ndarray],
    shard: tuple[int, ...],
    chunks: tuple[int, ...],
    fill_value: int,
    compressor: BytesBytesCodec,
) -> bytes:
    """Encode one shard as an object, equal to the one that zarr 3.4 writes in the order ``colexicographic``.

    All chunks of a band lie side by side, each compressed and followed by its crc32c; after them comes a little-endian
    index of their offsets and lengths in C order, and the crc32c of the index. A chunk of the fill value alone is
    written like any other; only those that hold no pixel of the array, in the last shard, are absent.
    https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html

    A scene of reflectance, shard (1, 1024, 1024, 13) in chunks of (1, 512, 512, 1), has 1 x 2 x 2 x 13 = 52 chunks. The
    chunk (0, 1, 0, 3), of band 3 in the lower left quarter, is entry ((0 * 2 + 1) * 2 + 0) * 13 + 3 = 29 of the index.
    It is written after the 4 chunks of each of bands 0 to 2 and after (0, 0, 0, 3), as number 3 * 4 + 0 * 2 + 1 = 13.
    The index has 52 x 16 bytes and 4 of crc32c.

    Parameters
    ----------
    blocks : iterable of ndarray
        Pixels of the shard in whole chunks along its first axis, of any strides; fewer than its shape where it reaches
        beyond the end of the array. Each is encoded before the next one is asked for.
    shard, chunks : tuple of int
        Shapes; a shard is made of whole chunks.
    fill_value : int
        Value of a chunk beyond the end of the array.
    compressor : BytesBytesCodec
        blosc or zstd.
    """
    codec = _c_codec(compressor)
    counts = [whole // part for whole, part in zip(shard, chunks, strict=True)]
    encoded: dict[tuple[int, ...], tuple[bytes, bytes]] = {}
    first = 0
    for block in blocks:
        for (along, *rest), chunk in _chunks(block, counts, chunks, fill_value):
            encoded[first + along, *rest] = _with_crc32c(codec.encode(chunk))
        first += math.ceil(len(block) / chunks[0])
    index = np.full((*counts, 2), _ABSENT, "<u8")
    content: list[bytes] = []
    offset = 0
    for position in sorted(encoded, key=lambda position: position[::-1]):
        content += encoded[position]
        length = sum(map(len, encoded[position]))  # of the chunk and its crc32c
        index[position] = offset, length
        offset += length
    return b"".join([*content, *_with_crc32c(index.tobytes())])


def _chunks(
    pixels: np.ndarray, counts: list[int], shape: tuple[int, ...], fill_value: int
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yield positions and chunks of the first pixels of a shard, contiguous and little-endian.

    Those without a pixel are left out: the last shard of 515 masks, of 64 scenes in chunks of 1, has chunks 0 to 2. A
    chunk at the lower edge of 1022 rows, in chunks of 512, has 510 of them and two of the fill value.
    """
    dtype = pixels.dtype.newbyteorder("<")
    for position in np.ndindex(*counts):
        part = pixels[tuple(slice(i * n, i * n + n) for i, n in zip(position, shape, strict=True))]
        if part.shape == shape:
            yield position, np.ascontiguousarray(part, dtype)
        elif part.size:
            chunk = np.full(shape, fill_value, dtype)
            chunk[tuple(map(slice, part.shape))] = part
            yield position, chunk


def _with_crc32c(content: bytes) -> tuple[bytes, bytes]:
    """Return a content and its crc32c."""
    return content, int(google_crc32c.value(content)).to_bytes(4, "little")


def _c_codec(compressor: BytesBytesCodec) -> Codec:
    """Return the C codec behind one of zarr, configured as zarr does; it runs without the GIL."""
    described: dict[str, Any] = compressor.to_dict()
    configuration = dict(described["configuration"])
    if "shuffle" in configuration:
        configuration["shuffle"] = _SHUFFLES[configuration["shuffle"]]
    return numcodecs.get_codec({"id": described["name"], **configuration})


_SIDE = 512
"""Rows and columns of a chunk of one band. Other layouts were slower or larger: docs/explanation/store-layout.md."""

_BLOCK = 131_072
"""Bytes that blosc compresses at a time, so many that lz4 finds what is alike and that they fit a core's cache."""


@dataclass(frozen=True)
class PixelArray:
    """Layout of one array of pixels.

    Attributes
    ----------
    name : str
    shape, chunks, shards : tuple of int
        Along the dimensions of `schema.DIMS`. A shard is one object of the store and is written whole by one task.
    dtype : str
    compressor : BytesBytesCodec
        Followed by crc32c, without which most flipped bits would read as wrong data.
    fill_value : int
        Chunks of this value alone are written too: an absent chunk is an error.
    attributes : mapping
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    dtype: str
    compressor: BytesBytesCodec
    fill_value: int
    attributes: Mapping[str, Any]

    @property
    def scenes_per_shard(self) -> int:
        """Scenes that one task reads and writes."""
        return self.shards[0]

    def spans(self) -> list[tuple[int, int]]:
        """Return first and one past the last scene of every shard: (0, 64), (64, 128), (128, 130) for 130 by 64."""
        step = self.scenes_per_shard
        return [(first, min(first + step, self.shape[0])) for first in range(0, self.shape[0], step)]

    def key(self, first: int) -> str:
        """Return the key of the shard that begins with scene `first`: for 128 in shards of 64, ``mask/c/2/0/0``."""
        return "/".join([self.name, "c", str(first // self.scenes_per_shard), *["0"] * (len(self.shape) - 1)])

    def digest(self, shard: bytes) -> str:
        """Return the digest of a shard of this array; see `s2cmc.store.digest_of`."""
        return digest_of(shard, math.prod(n // m for n, m in zip(self.shards, self.chunks, strict=True)))


def pixel_arrays(
    scenes: int,
    size: tuple[int, int],
    *,
    reflectance: ReflectanceType,
    mask_dtype: str,
    alt_mask_dtype: str,
    thumbnail: tuple[int, int] | None,
    other_dtypes: Mapping[str, Mapping[str, str]] | None = None,
    from_dn: bool = False,
) -> dict[str, PixelArray]:
    """Return the layout of every array of pixels of a store, by name.

    Parameters
    ----------
    scenes : int
    size : (y, x)
        Pixels of a scene.
    reflectance : {"uint16", "float32"}
        Digital numbers, or the published floats as they are.
    mask_dtype, alt_mask_dtype : str
        dtype of the published masks, to restore them.
    thumbnail : (y, x), optional
        Pixels of a thumbnail; without it the store has no thumbnails.
    other_dtypes : mapping of str to mapping of str to str, optional
        By array and scene: dtype of the published masks that have another one.
    from_dn : bool
        The published arrays hold DN as float32, to restore them.
    """
    bands = len(BAND_NAMES)
    chunk = _side(size[0]), _side(size[1])
    shard = tuple(math.ceil(n / step) * step for n, step in zip(size, chunk, strict=True))
    scaling: dict[str, Any] = {}
    if reflectance == "uint16":
        scaling["scale_factor"] = 1 / DN_PER_REFLECTANCE
        scaling["decoding"] = "float32(DN) / float32(10000) equals the published arrays bit for bit"
    if from_dn:
        scaling |= {"decoding": "float32(DN) equals the published arrays bit for bit", SOURCE_VALUES: "DN"}
    arrays = [
        PixelArray(
            "reflectance",
            (scenes, *size, bands),
            (1, *chunk, 1),
            (1, *shard, bands),
            reflectance,
            BloscCodec(
                typesize=np.dtype(reflectance).itemsize,
                cname="lz4",
                clevel=9,
                shuffle="bitshuffle",
                blocksize=_BLOCK,
            ),
            0,
            scaling,
        )
    ]
    for name, source_dtype in (("mask", mask_dtype), ("alt_mask", alt_mask_dtype)):
        others = (other_dtypes or {}).get(name)
        arrays.append(
            PixelArray(
                name,
                (scenes, *size),
                (1, *size),
                (64, *size),
                "uint8",
                ZstdCodec(level=9),
                MASK_MISSING,
                {"source_dtype": source_dtype} | ({"other_source_dtypes": dict(others)} if others else {}),
            )
        )
    if thumbnail:
        arrays.append(
            PixelArray(
                "thumbnail",
                (scenes, *thumbnail, len(RGB_NAMES)),
                (1, *thumbnail, len(RGB_NAMES)),
                (16, *thumbnail, len(RGB_NAMES)),
                "uint8",
                ZstdCodec(level=9),
                0,
                {},
            )
        )
    return {array.name: array for array in arrays}


def mask_dtypes(masks: Mapping[str, str], alt_masks: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of `pixel_arrays` that say in which dtype each mask was published.

    Parameters
    ----------
    masks, alt_masks : mapping of str to str
        dtype of each published mask, by scene. The most common one is that of the array, others are noted one by one.
    """
    common = Counter(masks.values()).most_common(1)[0][0]
    alt_common = Counter(alt_masks.values()).most_common(1)[0][0] if alt_masks else common
    others = {
        "mask": {scene: dtype for scene, dtype in masks.items() if dtype != common},
        "alt_mask": {scene: dtype for scene, dtype in alt_masks.items() if dtype != alt_common},
    }
    return {"mask_dtype": common, "alt_mask_dtype": alt_common, "other_dtypes": others}


def _side(pixels: int) -> int:
    """Return the rows or columns of a chunk; small scenes have two each way, as large ones do."""
    return _SIDE if pixels > _SIDE else math.ceil(pixels / 2)


def array_objects(arrays: Mapping[str, PixelArray]) -> dict[str, bytes]:
    """Return the metadata documents of the arrays of pixels, by key: they are written before the shards."""
    content: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(content), zarr_format=3)
    _add_pixel_arrays(group, arrays)
    objects = _as_objects(content)
    return {f"{name}/zarr.json": objects[f"{name}/zarr.json"] for name in arrays}


def shard_object(array: PixelArray, blocks: Iterable[np.ndarray]) -> bytes:
    """Encode one shard of an array from blocks of its scenes (scene, ...), one after the other: see `encode_shard`."""
    return encode_shard(blocks, array.shards, array.chunks, array.fill_value, array.compressor)


def shard_objects(array: PixelArray, first: int, pixels: np.ndarray) -> dict[str, bytes]:
    """Encode the pixels of the scenes from `first` on as shards of an array, by key.

    Shards are made in memory, so that each is written by one request.

    Raises
    ------
    ValueError
        If the scenes are not those of whole shards: two writers in one shard would lose data without an error.
    """
    step, last = array.scenes_per_shard, first + len(pixels)
    if first % step or (last % step and last != array.shape[0]):
        raise ValueError(f"scenes {first} to {last} of {array.name} are not whole shards of {step}")
    return {
        array.key(first + start): shard_object(array, [pixels[start : start + step]])
        for start in range(0, len(pixels), step)
    }


def store_objects(
    arrays: Mapping[str, PixelArray],
    scene_coordinates: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    digests: Mapping[str, str],
    own: Sequence[SceneCoordinate] = (),
) -> dict[str, bytes]:
    """Make every object of a store except its shards: consolidated metadata, coordinates twice, digests.

    Parameters
    ----------
    arrays : mapping of str to PixelArray
    scene_coordinates : mapping of str to ndarray (scene,)
        All of `schema.SCENE_COORDINATES`, and those of `own`.
    attributes : mapping
        Attributes of the root group.
    digests : mapping of str to str
        Digests of every shard, by key.
    own : sequence of SceneCoordinate
        Coordinates of columns of the user's own.

    Returns
    -------
    dict of str to bytes
        By key. ``zarr.json`` of the root makes them a store; one object bundles the coordinates.
    """
    content: dict[str, Any] = {}
    memory = MemoryStore(content)
    group = zarr.create_group(memory, zarr_format=3, attributes=dict(attributes))
    coordinates = {
        c.name: Coordinate(c.name, "scene", scene_coordinates[c.name].astype(c.dtype), c.attributes)
        for c in (*SCENE_COORDINATES, *own)
    }
    coordinates |= {coordinate.name: coordinate for coordinate in _axis_coordinates(arrays)}
    for name in bundled_names(coordinates):
        _add_coordinate(group, coordinates[name])
    _add_pixel_arrays(group, arrays, own)
    with warnings.catch_warnings():
        # zarr-python, xarray, GDAL and zarrita all read them; without them a remote store must be listed to be opened.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", ZarrUserWarning)
        zarr.consolidate_metadata(memory)
    objects = _as_objects(content)
    bundle = pack_bundle({key: value for key, value in objects.items() if not key.endswith(ROOT)})
    root = json.loads(objects[ROOT])
    root["attributes"] |= bundle_attributes(bundle)
    keys = [array.key(first) for array in arrays.values() for first, _ in array.spans()]
    packed = pack_digests({key: digests[key] for key in keys})
    root["attributes"] |= digest_attributes(packed)
    return objects | {BUNDLE: bundle, DIGESTS: packed, ROOT: with_checksum(root)}


def _axis_coordinates(arrays: Mapping[str, PixelArray]) -> list[Coordinate]:
    _, height, width, _ = arrays["reflectance"].shape
    if "thumbnail" not in arrays:
        return fixed_coordinates((height, width), None)
    _, rows, columns, _ = arrays["thumbnail"].shape
    return fixed_coordinates((height, width), (rows, columns))


def _add_pixel_arrays(group: zarr.Group, arrays: Mapping[str, PixelArray], own: Sequence[SceneCoordinate] = ()) -> None:
    dims = {c.name: "scene" for c in (*SCENE_COORDINATES, *own)} | {c.name: c.dim for c in _axis_coordinates(arrays)}
    for array in arrays.values():
        auxiliary = [name for name, dim in dims.items() if dim in DIMS[array.name] and name != dim]
        _create_array(
            group,
            array,
            {**VARIABLE_ATTRIBUTES[array.name], **array.attributes, "coordinates": " ".join(auxiliary)},
        )


def _create_array(group: zarr.Group, array: PixelArray, attributes: Mapping[str, Any]) -> "zarr.Array[Any]":
    sharding = ShardingCodec(
        chunk_shape=array.chunks,
        codecs=[
            BytesCodec(endian="little" if np.dtype(array.dtype).itemsize > 1 else None),
            *_codec_chain(array.compressor),
        ],
        subchunk_write_order="colexicographic",  # as `encode_shard` writes them; no reader asks for it
    )
    return group.create_array(
        array.name,
        shape=array.shape,
        chunks=array.shards,
        dtype=array.dtype,
        serializer=sharding,
        compressors=None,
        fill_value=array.fill_value,
        dimension_names=DIMS[array.name],
        attributes=dict(attributes),
    )


def _codec_chain(compressor: BytesBytesCodec) -> list[BytesBytesCodec]:
    return [compressor, Crc32cCodec()]


def _as_objects(content: Mapping[str, Any]) -> dict[str, bytes]:
    objects = {key: buffer.to_bytes() for key, buffer in content.items()}
    return {key: compact_json(json.loads(value)) if key.endswith(ROOT) else value for key, value in objects.items()}


def _add_coordinate(group: zarr.Group, coordinate: Coordinate) -> None:
    values, attributes = coordinate.values, dict(coordinate.attributes)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[s]").astype("int64")
        attributes |= {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    array = group.create_array(
        coordinate.name,
        shape=values.shape,
        chunks=values.shape,
        dtype=str if values.dtype.kind == "O" else values.dtype,
        compressors=_codec_chain(ZstdCodec(level=9)),
        dimension_names=(coordinate.dim,),
        attributes={**attributes},
        config={"write_empty_chunks": True},
    )
    array[:] = values
