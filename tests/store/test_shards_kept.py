"""What readers of shards keep in memory: asked for once, however many ask, bounded, never in place of what is new."""

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from helpers.http_proxy import Fault, Proxy
from helpers.sharded_arrays import ZSTD, Layout, array_of
from zarr.storage import LocalStore, WrapperStore

from s2cmc.errors import MissingObjectError, StoreError
from s2cmc.storage import cache
from s2cmc.store.objects import CatalogueStore, Place
from s2cmc.store.reading import read_array

pytestmark = pytest.mark.slow

SCENES = Layout(shape=(6, 6, 6, 2))
INDEX = 16 * 8 + 4
"""Bytes of the index of a shard: offset and length of 8 chunks, and a checksum."""

MASKS = Layout(shape=(40, 6, 6), chunks=(8, 6, 6), grid=(4, 1, 1), dtype="uint8", compressor=ZSTD)
"""Two shards of 32 masks, the second a part of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pixels`` with the layout of `SCENES`, ``mask`` with that of `MASKS`. Not to be changed."""
    place = tmp_path_factory.mktemp("kept")
    SCENES.write(place)
    MASKS.write(place, "mask")
    return place


@pytest.fixture
def proxy(folder: Path, serve: Callable) -> Iterator[Proxy]:
    with Proxy(serve(folder).url) as between:
        yield between


@pytest.fixture
def pixels(proxy: Proxy) -> zarr.Array:
    """Opened; the log is empty."""
    array = array_of(proxy.url)
    proxy.log.clear()
    return array


@pytest.fixture
def masks(proxy: Proxy) -> zarr.Array:
    array = array_of(proxy.url, "mask")
    proxy.log.clear()
    return array


def window(array: zarr.Array, scene: int) -> np.ndarray:
    """One band, of which the chunks are read by themselves."""
    return read_array(array, (scene, slice(0, 3), slice(0, 3), 1))


def asked(proxy: Proxy) -> list[tuple[str, str | None]]:
    """Path and range of all that was asked for since the last time."""
    found = [(request.path, request.range) for request in proxy.log]
    proxy.log.clear()
    return found


def indices(proxy: Proxy) -> list[int]:
    """Scenes of which the index was asked for since the last time."""
    return [int(path.split("/")[3]) for path, part in asked(proxy) if part == f"bytes=-{INDEX}"]


def side_by_side(work: list[Callable[[], object]]) -> None:
    """Each in a thread of its own, all at the same moment."""
    ready = threading.Barrier(len(work))
    threads = [threading.Thread(target=lambda do=do: (ready.wait(), do())) for do in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_index_is_asked_for_once_for_several_windows(proxy, pixels, folder):
    for part in (slice(0, 1), slice(3, 6), slice(0, 6)):
        read_array(pixels, (2, part, slice(0, 3), 1))
    assert [part for _, part in asked(proxy)].count(f"bytes=-{INDEX}") == 1


def test_no_more_bytes_are_read_than_the_index_and_the_chunks(proxy, pixels, folder, no_coalescing):
    window(pixels, 2)
    content = (folder / "pixels/c/2/0/0/0").read_bytes()
    length = int(np.frombuffer(content[-INDEX:-4], "<u8").reshape(-1, 2)[1, 1])
    assert [request.nbytes for request in proxy.log] == [INDEX, length]


def test_chunks_that_lie_near_each_other_are_one_range(proxy, pixels):
    read_array(pixels, (2, slice(None), slice(None), 1))
    assert len(asked(proxy)) == 1 + 1
    read_array(pixels, (2, slice(None), slice(None), 0))
    assert len(asked(proxy)) == 1


def test_a_whole_shard_is_one_request_and_is_not_kept(proxy, pixels):
    read_array(pixels, 2)
    read_array(pixels, 2)
    assert asked(proxy) == [("/pixels/c/2/0/0/0", None)] * 2


def test_a_whole_shard_at_the_edge_of_the_array_is_one_request(tmp_path, serve):
    """It is not full: along y it holds two of three chunks, the second in part."""
    values = Layout(shape=(2, 4, 6, 2), grid=(1, 3, 2, 2)).write(tmp_path)
    with Proxy(serve(tmp_path).url) as proxy:
        array = array_of(proxy.url)
        asked(proxy)
        np.testing.assert_array_equal(read_array(array, 1), values[1])
        assert asked(proxy) == [("/pixels/c/1/0/0/0", None)]


def test_masks_are_asked_for_once_whatever_is_read_of_them(proxy, masks):
    for scenes in (3, slice(8, 10), slice(0, 40), [39, 0, 17]):
        read_array(masks, scenes)
    assert asked(proxy) == [("/mask/c/0/0/0", None), ("/mask/c/1/0/0", None)]


def test_masks_are_asked_for_once_however_many_threads_ask(proxy, masks, folder):
    proxy.rtt = 0.1
    right = zarr.open_array(folder / "mask")[:]
    found: dict[int, np.ndarray] = {}
    side_by_side([lambda i=i: found.update({i: read_array(masks, i)}) for i in range(0, 40, 4)])
    assert sorted(asked(proxy)) == [("/mask/c/0/0/0", None), ("/mask/c/1/0/0", None)]
    assert all(np.array_equal(found[i], right[i]) for i in range(0, 40, 4))


def test_an_index_is_asked_for_once_however_many_threads_ask(proxy, pixels):
    proxy.rtt = 0.1
    side_by_side([lambda: window(pixels, 2)] * 6)
    assert indices(proxy) == [2]


def test_what_was_used_least_lately_is_forgotten_first(proxy, pixels, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_CACHE_NBYTES", 3 * INDEX)
    for scene in (0, 1, 2, 0, 3):
        window(pixels, scene)
    assert indices(proxy) == [0, 1, 2, 3]
    for scene in (0, 2, 3):
        window(pixels, scene)
    assert indices(proxy) == []
    window(pixels, 1)
    window(pixels, 0)
    assert indices(proxy) == [1, 0]


def test_what_is_larger_than_all_that_may_be_kept_is_read_all_the_same(proxy, masks, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_CACHE_NBYTES", 10)
    read_array(masks, 3)
    read_array(masks, 3)
    assert asked(proxy) == [("/mask/c/0/0/0", None)] * 2


@pytest.mark.parametrize("kind", ["404", "403"])
def test_a_failure_is_not_kept(proxy, masks, folder, kind):
    proxy.faults = [Fault(kind, "/mask/c/0", times=1)]
    with pytest.raises(StoreError, match=r"/mask/c/0/0/0 "):
        read_array(masks, 3)
    np.testing.assert_array_equal(read_array(masks, 3), zarr.open_array(folder / "mask")[3])


def test_all_that_wait_for_a_failure_are_told(proxy, masks):
    proxy.rtt = 0.1
    proxy.faults = [Fault("404", "/mask/c/0", times=1)]
    told = []

    def read() -> None:
        with pytest.raises(MissingObjectError, match=r"/mask/c/0/0/0 is missing; "):
            read_array(masks, 3)
        told.append(True)

    side_by_side([read] * 4)
    assert len(told) == 4
    assert [key for key, _ in asked(proxy) if "/mask/" in key] == ["/mask/c/0/0/0"]  # and names of scenes, to tell


def test_what_is_replaced_is_not_mixed_with_what_is_kept(tmp_path, serve):
    """The same chunks 5 bytes further on: the index that is kept does not fit, so that it is read anew."""
    values = SCENES.write(tmp_path)
    with Proxy(serve(tmp_path).url) as proxy:
        array = array_of(proxy.url)
        window(array, 2)
        shard = tmp_path / "pixels/c/2/0/0/0"
        content = shard.read_bytes()
        entries = np.frombuffer(content[-INDEX:-4], "<u8").reshape(-1, 2) + np.array([5, 0], "<u8")
        index = entries.tobytes()
        shard.write_bytes(bytes(5) + content[:-INDEX] + index + google_crc32c.value(index).to_bytes(4, "little"))
        np.testing.assert_array_equal(window(array, 2), values[2, :3, :3, 1])
        assert indices(proxy) == [2, 2]


def test_a_store_without_cache_uses_nothing_that_was_kept(proxy, pixels):
    window(pixels, 2)
    again = zarr.open_array(pixels.store.without_cache(), path="pixels", mode="r", zarr_format=3)
    asked(proxy)
    window(again, 2)
    assert indices(proxy) == [2]
    window(pixels, 2)
    assert indices(proxy) == []


def test_what_is_kept_is_not_sent_to_other_processes(proxy, masks, folder):
    before = len(pickle.dumps(masks))
    right = read_array(masks, 3)
    assert len(pickle.dumps(masks)) == before
    asked(proxy)
    np.testing.assert_array_equal(read_array(pickle.loads(pickle.dumps(masks)), 3), right)  # noqa: S301
    assert asked(proxy) == [("/mask/c/0/0/0", None)]


def test_of_a_folder_nothing_is_kept(tmp_path):
    MASKS.write(tmp_path, "mask")
    array = array_of(tmp_path, "mask")
    read_array(array, 3)
    (tmp_path / "mask/c/0/0/0").unlink()
    with pytest.raises(MissingObjectError, match=r"mask/c/0/0/0 is missing; "):
        read_array(array, 3)


class Gated(WrapperStore):
    """Answers when it is told to, and counts what it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(folder, read_only=True))
        self.gate, self.asked = asyncio.Event(), 0

    async def get(self, key, prototype, byte_range=None):
        self.asked += 1
        await self.gate.wait()
        return await super().get(key, prototype, byte_range)


async def begun(store: CatalogueStore, count: int) -> list[asyncio.Task]:
    """Tasks that have asked for an object and wait for it."""
    tasks = [asyncio.create_task(store.fetch_kept("mask/c/0/0/0")) for _ in range(count)]
    while not store.place.given.asked:
        await asyncio.sleep(0)
    return tasks


def test_one_of_several_tasks_may_be_cancelled(folder):
    async def read() -> None:
        gated = Gated(folder)
        store = CatalogueStore(Place("place", given=gated))
        first, *others = await begun(store, 3)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        gated.gate.set()
        right = (folder / "mask/c/0/0/0").read_bytes()
        assert [bytes(content) for content in await asyncio.gather(*others)] == [right, right]
        assert gated.asked == 1

    asyncio.run(read())


def test_a_request_of_which_all_tasks_were_cancelled_is_made_again(folder):
    async def read() -> None:
        gated = Gated(folder)
        store = CatalogueStore(Place("place", given=gated))
        for task in await begun(store, 2):
            task.cancel()
        gated.gate.set()
        assert bytes(await store.fetch_kept("mask/c/0/0/0")) == (folder / "mask/c/0/0/0").read_bytes()

    asyncio.run(read())


def test_what_was_damaged_on_its_way_is_not_kept(proxy, masks):
    proxy.faults = [Fault("corrupt", "mask/c/0", times=1)]
    first = read_array(masks, slice(0, 32))
    for _ in range(2):
        np.testing.assert_array_equal(read_array(masks, slice(0, 32)), first)
    assert [request.path for request in proxy.log] == ["/mask/c/0/0/0"] * 2


def test_a_kept_index_does_not_hold_the_whole_object_of_a_server_without_ranges(proxy, pixels):
    proxy.faults = [Fault("noranges")]
    read_array(pixels, (2, slice(0, 3), slice(0, 3), 1))
    ((_, memory),) = pixels.store._by_process.values()
    (content,) = memory._contents.values()
    assert type(content) is bytes
    assert len(content) == INDEX


def test_threads_that_begin_together_ask_once(folder, serve, monkeypatch):
    server = serve(folder)
    array = pickle.loads(pickle.dumps(array_of(server.url, "mask")))  # noqa: S301, our own bytes
    server.log.clear()
    connect, both = Place.connect, threading.Barrier(2)

    def at_once(place):
        both.wait(10)
        return connect(place)

    monkeypatch.setattr(Place, "connect", at_once)
    threads = [threading.Thread(target=read_array, args=(array, scene)) for scene in (0, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path for _, path, _ in server.log] == ["/mask/c/0/0/0"]
