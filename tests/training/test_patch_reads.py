"""What is read for random patches, when, and what becomes of what cannot be read."""

import threading

import numpy as np
import pytest
import xarray as xr
from zarr.storage import LocalStore, WrapperStore

import s2cmc
from s2cmc.errors import DamagedError
from s2cmc.store.reading import ADVICE

pytestmark = pytest.mark.slow


class Counting(WrapperStore):
    """Writes down which objects of pixels were read, and can damage them or refuse to read them."""

    def __init__(self, store, flips=0, refused=()):
        super().__init__(store)
        self.read, self.flips, self.refused = [], flips, refused

    async def get(self, key, prototype, byte_range=None):
        found = await super().get(key, prototype, byte_range)
        if "/c/" not in key:
            return found
        self.read.append(key)
        if key in self.refused:
            return None
        if not self.flips or found is None:
            return found
        self.flips -= 1
        content = found.to_bytes()
        return prototype.buffer.from_bytes(content[:20] + bytes([content[20] ^ 255]) + content[21:])


@pytest.fixture
def counting(store):
    """Open the store such that reads are counted: ``counting()`` gives the catalogue and the store below it."""

    def start(flips=0, refused=()):
        below = Counting(LocalStore(store, read_only=True), flips, refused)
        catalogue = s2cmc.open_catalogue(below)
        below.read.clear()
        return catalogue, below

    return start


def test_nothing_is_read_before_it_is_asked_for(counting):
    catalogue, below = counting()
    patches = catalogue.clouds.select("cloud_percent >= 0").clouds.patches(8, batch=2)
    iter(patches.epoch(1))
    assert (len(patches), len(patches.positions)) == (320, 640)
    assert not below.read
    next(iter(patches))
    assert below.read


def test_a_shard_is_asked_once_for_all_patches_of_a_batch(counting):
    """For its index, and for its chunks, which lie too near each other here to be asked for one by one."""
    catalogue, below = counting()
    catalogue = catalogue.drop_vars("mask").assign({"mask": (("scene", "y", "x"), np.zeros((10, 64, 64), np.uint8))})
    catalogue.clouds.patches_at([(4, 0, 0), (4, 5, 1), (7, 0, 0), (4, 2, 30)], 8)
    assert sorted(below.read) == 2 * ["reflectance/c/4/0/0/0"] + 2 * ["reflectance/c/7/0/0/0"]
    catalogue.clouds.patches_at([(4, 3, 3), (4, 3, 3)], 8)
    assert below.read.count("reflectance/c/4/0/0/0") == 3  # the index is kept


def test_masks_of_selected_scenes_come_from_the_store_too(counting):
    """And from one read of it, though they were selected twice."""
    catalogue, below = counting()
    few = catalogue.clouds.select("cloud_percent >= 0").clouds.select("index != 3")
    batch = few.clouds.patches_at([(3, 0, 0), (1, 0, 0), (0, 4, 4)], 8)
    assert below.read.count("mask/c/0/0/0") == 1
    np.testing.assert_array_equal(batch["mask"][0], few["mask"][3, :8, :8])


def test_only_the_bands_that_were_selected_are_read(store, serve, no_coalescing):
    server = serve(store.parent)
    few = s2cmc.open_catalogue(f"{server.url}/{store.name}").clouds.select(bands=["B04", "B03"])
    server.log.clear()
    few.clouds.patches_at([(2, 0, 0)], 8)
    asked = [nbytes for _, path, nbytes in server.log if "/reflectance/c/2/" in path]
    assert len(asked) == 1 + 2  # index, and a chunk of each band


def test_over_a_network_they_are_the_same(store, catalogue, serve):
    remote = s2cmc.open_catalogue(f"{serve(store.parent).url}/{store.name}")
    patches = remote.clouds.patches(20, batch=16, count=32)
    for batch, expected in zip(patches, catalogue.clouds.patches(20, batch=16, count=32), strict=True):
        xr.testing.assert_identical(batch, expected)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("s2cmc")]


def test_the_next_batch_is_read_while_one_is_used(counting):
    catalogue, below = counting()
    patches = catalogue.clouds.patches(8, batch=1, count=3)
    own = [f"reflectance/c/{scene}/0/0/0" for scene in patches.positions[:, 0]]
    batches = iter(patches)
    next(batches)
    deadline = threading.Event()
    while own[1] not in below.read:
        assert not deadline.wait(0.01)
    assert own[2] not in below.read
    assert len(list(batches)) == 2


@pytest.mark.parametrize("leave", ["break", "close", "raise", "forget"])
def test_leaving_early_leaves_no_thread(catalogue, leave):
    batches = iter(catalogue.clouds.patches(8, batch=2))
    next(batches)
    assert threads()
    if leave == "close":
        batches.close()
    elif leave == "raise":
        with pytest.raises(ZeroDivisionError, match="by"):
            batches.throw(ZeroDivisionError("by the user"))
    elif leave == "break":
        for _ in batches:
            break
        del batches
    else:
        del batches
    assert not threads()


def test_the_end_leaves_no_thread(catalogue):
    assert len(list(catalogue.clouds.patches(8, batch=2, count=5))) == 3
    assert not threads()


def test_what_fails_while_reading_ahead_is_raised_where_it_was_asked_for(counting):
    catalogue, below = counting()
    patches = catalogue.clouds.patches(8, batch=1, count=3)
    key = f"reflectance/c/{patches.positions[1, 0]}/0/0/0"
    below.refused = (key,)
    batches = iter(patches)
    next(batches)
    with pytest.raises(s2cmc.StoreError, match=f"/{key} is missing; {ADVICE}$"):
        next(batches)
    assert not threads()


def test_what_was_damaged_on_its_way_is_read_again(counting, catalogue):
    damaged, below = counting(flips=1)
    places = [(3, 20, 20), (4, 0, 0)]
    xr.testing.assert_identical(damaged.clouds.patches_at(places, 24), catalogue.clouds.patches_at(places, 24))
    assert below.flips == 0


def test_what_stays_damaged_is_named(counting):
    damaged, _ = counting(flips=1_000)
    with pytest.raises(DamagedError, match=rf"/(reflectance/c/3/0/0/0|mask/c/0/0/0) is damaged: .*; {ADVICE}$"):
        damaged.clouds.patches_at([(3, 20, 20)], 24)
