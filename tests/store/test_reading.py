"""Reading an array: right at the second try where it was damaged on its way, or an error that names the objects."""

import shutil
import threading

import numpy as np
import pytest
import zarr
from zarr.core.array import Array
from zarr.storage import LocalStore, WrapperStore

import s2cmc
from s2cmc.errors import DamagedError, MissingObjectError
from s2cmc.storage.access import Access
from s2cmc.store.objects import CatalogueStore, Place
from s2cmc.store.reading import ADVICE, read_array

DATA = np.random.default_rng(0).integers(0, 2**16, (10, 6, 4), "uint16")


class OnTheWay(WrapperStore):
    """Damages what it hands out as long as `times` is above 0."""

    def __init__(self, store, damage, times):
        super().__init__(store)
        self.damage, self.times, self.asked = damage, times, []

    async def get(self, key, prototype, byte_range=None):
        found = await super().get(key, prototype, byte_range)
        if "/c/" not in key or found is None:
            return found
        self.asked.append(key)
        if self.times > 0:
            self.times -= 1
            found = prototype.buffer.from_bytes(self.damage(found.to_bytes()))
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A group with `DATA` in shards of 2 scenes by half of y, and a string coordinate. Not to be changed."""
    path = tmp_path_factory.mktemp("reading")
    group = zarr.create_group(path, zarr_format=3)
    for name, shards in (("pixels", (2, 3, 4)), ("labels", (4, 6, 4))):
        array = group.create_array(
            name, shape=DATA.shape, dtype="uint16", chunks=(1, 3, 4), shards=shards, fill_value=0
        )
        array[:] = DATA
    names = group.create_array("names", shape=(10,), dtype=str, chunks=(10,))
    names[:] = np.array([f"scene {i}" for i in range(10)], object)
    return path


def array_of(place: Place, name: str) -> Array:
    return zarr.open_array(CatalogueStore(place), path=name, mode="r", zarr_format=3)


@pytest.fixture
def way(folder):
    """An array and the store below it: ``way("pixels", damage, times)``."""

    def start(name, damage, times):
        store = OnTheWay(LocalStore(folder, read_only=True), damage, times)
        return array_of(Place("place", given=store), name), store

    return start


def flipped(content):
    return bytes([content[0] ^ 255]) + content[1:]


SELECTIONS = [
    slice(None),
    (slice(None), slice(None), slice(None)),
    3,
    (slice(3, 5), slice(0, 3), slice(None)),
    (np.array([0, 9, 9, 2]), slice(None), slice(1, 2)),
    (slice(8, 10), slice(None), slice(None)),
    (9, 5, 3),
]


@pytest.mark.parametrize("name", ["pixels", "labels"])
@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_values_are_those_of_numpy(name, selection, folder):
    found = read_array(array_of(Place(str(folder)), name), selection)
    np.testing.assert_array_equal(found, DATA[selection], strict=True)


@pytest.mark.parametrize("name", ["pixels", "labels"])
@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize("damage", [flipped, lambda content: b"", lambda content: bytes(len(content))])
def test_what_was_damaged_once_is_read_again(name, damage, selection, way):
    array, store = way(name, damage, 1)
    np.testing.assert_array_equal(read_array(array, selection), DATA[selection])
    assert store.times == 0  # it was damaged


def test_what_is_intact_is_read_once(way):
    array, store = way("pixels", flipped, 0)
    read_array(array, slice(None))
    assert sorted(store.asked) == [f"pixels/c/{i}/{j}/0" for i in range(5) for j in range(2)]


def test_strings_are_read_again_too(way):
    array, _ = way("names", lambda content: content[:-3], 1)
    assert read_array(array, slice(None)).tolist() == [f"scene {i}" for i in range(10)]


@pytest.mark.parametrize(
    ("selection", "shard"),
    [(3, 1), (slice(2, 4), 1), (slice(1, 4), 0), (np.array([9, 0]), 0), (slice(None), 0)],
    ids=["a scene", "one shard", "two shards", "a list", "all"],
)
def test_the_error_names_the_first_objects_that_are_damaged(selection, shard, way):
    array, _ = way("pixels", flipped, 1_000)
    shown = f"place/pixels/c/{shard}/0/0, place/pixels/c/{shard}/1/0"
    with pytest.raises(DamagedError, match=f"^{shown} is damaged: .*; {ADVICE}$"):
        read_array(array, (selection, slice(None), slice(None)))


def test_of_many_objects_the_error_names_the_damaged_one(folder, tmp_path):
    """It is looked for after the whole selection has failed, so that what is whole costs nothing more."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    spoilt = copy / "pixels" / "c" / "3" / "0" / "0"
    spoilt.write_bytes(flipped(spoilt.read_bytes()))
    shown = ", ".join(f"{copy}/pixels/c/3/{part}/0" for part in (0, 1))
    with pytest.raises(DamagedError, match=f"^{shown} is damaged: "):
        read_array(array_of(Place(str(copy)), "pixels"), slice(None))


def test_the_error_says_in_one_line_what_is_wrong(way):
    array, _ = way("names", flipped, 2)
    with pytest.raises(s2cmc.StoreError) as raised:
        read_array(array, slice(None))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("place/names/c/0 is damaged: ")
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("missing", ["pixels/c/1/0/0", "pixels/c/1/1/0"])
def test_what_is_missing_is_named_alone_and_not_asked_for_twice(missing, folder):
    class Without(OnTheWay):
        async def get(self, key, prototype, byte_range=None):
            found = await super().get(key, prototype, byte_range)
            return None if key == missing else found

    store = Without(LocalStore(folder, read_only=True), flipped, 0)
    array = array_of(Place("place", given=store), "pixels")
    with pytest.raises(MissingObjectError, match=f"^place/{missing} is missing; {ADVICE}$"):
        read_array(array, slice(None))
    assert store.asked.count(missing) == 1
    np.testing.assert_array_equal(read_array(array, slice(4, 8)), DATA[4:8])


def test_a_missing_chunk_is_no_fill_value_in_any_array(folder):
    """Not even where the array belongs to no `CatalogueStore`."""

    class Without(WrapperStore):
        async def get(self, key, prototype, byte_range=None):
            return None if "/c/" in key else await super().get(key, prototype, byte_range)

    array = zarr.open_array(Without(LocalStore(folder, read_only=True)), path="pixels", mode="r")
    assert not array[:].any()  # what zarr does
    with pytest.raises(s2cmc.StoreError, match="pixels/c/0/0/0"):
        read_array(array, slice(None))


def test_many_threads_read_one_array(folder):
    array = array_of(Place(str(folder), Access()), "pixels")
    wrong = []

    def read(scene):
        wrong.extend(scene for _ in range(5) if not np.array_equal(read_array(array, scene), DATA[scene]))

    threads = [threading.Thread(target=read, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not wrong
