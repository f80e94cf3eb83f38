"""No byte of a store changes unseen. With S2CMC_EVERY_BYTE=1 each of them, some minutes long, else a part of them."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr

from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.verify.objects import check_objects, read_shard
from s2cmc.errors import DamagedError, StoreError
from s2cmc.store.format import check_checksum, unpack_bundle, unpack_digests
from s2cmc.store.objects import CatalogueStore, Place
from s2cmc.store.open import open_group
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


def some(positions: range, step: int) -> range:
    """Every `step`-th of positions, or all of them."""
    return positions if os.environ.get("S2CMC_EVERY_BYTE") else positions[::step]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 2 scenes of 16 x 16 pixels; each test mends what it damages."""
    folder = tmp_path_factory.mktemp("tiny")
    make_release(folder / "release", scenes=2, size=16)
    convert(str(folder / "release"), str(folder / "store"))
    return folder / "store"


def with_byte(content: bytes, position: int) -> bytes:
    """Changed in one bit, another one at each position; among them the one that makes capitals of letters."""
    return content[:position] + bytes([content[position] ^ (1 << position % 8)]) + content[position + 1 :]


def objects(store: Path, kind: str) -> list[Path]:
    """Files of the arrays of coordinates (1 dimension), or of pixels."""
    metadata = json.loads((store / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
    small = {name for name, array in metadata.items() if len(array["shape"]) == 1}
    found = [path for path in store.glob("*/**/*") if path.is_file()]
    chosen: dict[str, Callable[[Path], bool]] = {
        "metadata": lambda path: path.name == "zarr.json",
        "coordinates": lambda path: path.name != "zarr.json" and path.relative_to(store).parts[0] in small,
        "shards": lambda path: path.name != "zarr.json" and path.relative_to(store).parts[0] not in small,
    }
    return sorted(filter(chosen[kind], found))


def test_all_kinds_are_all_there_is(tiny):
    kinds = sum(len(objects(tiny, kind)) for kind in ("metadata", "coordinates", "shards"))
    top = {path.name for path in tiny.iterdir() if path.is_file()}
    assert top == {"zarr.json", "coordinates.zip", "shards.json"}
    assert kinds + len(top) == sum(path.is_file() for path in tiny.rglob("*"))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("zarr.json", lambda content, attributes: check_checksum(content, "zarr.json")),
        ("coordinates.zip", lambda content, attributes: unpack_bundle(content, attributes, "coordinates.zip")),
        ("shards.json", lambda content, attributes: unpack_digests(content, attributes, "shards.json")),
    ],
)
def test_every_byte_of_what_is_sealed(tiny, name, check):
    content = (tiny / name).read_bytes()
    attributes = json.loads((tiny / "zarr.json").read_bytes())["attributes"]
    check(content, attributes)
    # Each change of the root costs a SHA-256 of all its 43 kB.
    for position in some(range(len(content)), 37 if name == "zarr.json" else 1):
        with pytest.raises(DamagedError, match=rf"^{name} is damaged"):
            check(with_byte(content, position), attributes)


@pytest.mark.parametrize("kind", ["metadata", "coordinates"])
def test_every_byte_of_what_is_there_twice(tiny, kind):
    """All objects are changed at once, at the same position, and each of them is found."""
    group = open_group(tiny)
    contents = {path: path.read_bytes() for path in objects(tiny, kind)}
    for position in some(range(max(map(len, contents.values()))), 97 if kind == "metadata" else 7):
        hit = {path: content for path, content in contents.items() if position < len(content)}
        for path, content in hit.items():
            path.write_bytes(with_byte(content, position))
        found = {line.partition(" is not what ")[0] for line in check_objects(group)}
        for path, content in hit.items():
            path.write_bytes(content)
        assert found == {path.relative_to(tiny).as_posix() for path in hit}


@pytest.mark.parametrize("name", ["reflectance", "mask", "alt_mask", "thumbnail"])
def test_every_byte_of_a_shard(tiny, name):
    """Of its chunks, their checksums, the index, and the checksum of that."""
    (path, *_) = [path for path in objects(tiny, "shards") if path.relative_to(tiny).parts[0] == name]
    content, key = path.read_bytes(), path.relative_to(tiny).as_posix()
    store = CatalogueStore(Place(str(tiny)))
    array = zarr.open_array(store, path=name, mode="r", zarr_format=3)
    last = min((array.shards or array.chunks)[0], array.shape[0])
    end, chunks = len(content), math.prod(n // m for n, m in zip(array.shards, array.chunks, strict=True))
    index = end - 16 * chunks - 4
    positions = [*some(range(index), 101), *some(range(index, end - 4), 13), *range(end - 4, end)]
    read_shard(array, 0, last)
    try:
        for position in positions:
            path.write_bytes(with_byte(content, position))
            with pytest.raises(StoreError, match=rf"{key} (is damaged|is cut short|cannot be read)"):
                read_shard(array, 0, last)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["reflectance", "mask", "thumbnail"])
def test_every_length_of_a_shard(tiny, name):
    """Cut anywhere, or with a byte too many."""
    (path, *_) = [path for path in objects(tiny, "shards") if path.relative_to(tiny).parts[0] == name]
    content = path.read_bytes()
    array = zarr.open_array(CatalogueStore(Place(str(tiny))), path=name, mode="r", zarr_format=3)
    last = min((array.shards or array.chunks)[0], array.shape[0])
    try:
        for length in [*range(0, len(content), 97), len(content) - 1]:
            path.write_bytes(content[:length])
            with pytest.raises(StoreError, match=rf"/{name}/c/0"):
                read_shard(array, 0, last)
        path.write_bytes(content + b"\0")
        with pytest.raises(StoreError, match=rf"/{name}/c/0"):
            read_shard(array, 0, last)
    finally:
        path.write_bytes(content)
