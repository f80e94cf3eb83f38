"""The cache on disk: bounded, shared, and never wrong."""

import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import StoreError
from s2cmc.storage.cache import DiskCache

pytestmark = pytest.mark.slow

SIZE = 100_000

WRITER = """
import sys, pathlib
from s2cmc.storage import DiskCache
folder, size, first, count, nbytes = sys.argv[1], *map(int, sys.argv[2:])
cache = DiskCache(pathlib.Path(folder), size)
print("ready", flush=True)
for i in range(first, first + count):
    cache.put(f"name {i % 500}", str(i % 500).encode() * nbytes)
    found = cache.get(f"name {i * 7 % 500}")
    assert found is None or found == str(i * 7 % 500).encode() * nbytes, i
"""
"""A process that keeps and gets entries: FOLDER SIZE FIRST COUNT REPEATS."""


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "cache", SIZE)


def entries(cache):
    """Files of a cache, those first that were not read for longest."""
    return sorted(cache.folder.glob("*.bytes"), key=lambda path: path.stat().st_mtime_ns)


def nbytes_in(folder):
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # a process was faster
            continue
    return total


def writer(cache, *numbers):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(cache.folder), str(cache.size), *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 90, memoryview(b"abc")])
def test_what_is_kept_under_a_name_is_given_back(content, cache):
    assert cache.get("name") is None
    cache.put("name", content)
    assert cache.get("name") == content
    assert cache.get("nam") is None
    assert DiskCache(cache.folder, 1).get("name") == content
    cache.put("name", b"other")
    assert cache.get("name") == b"other"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(400, 4_000))
def test_it_never_holds_more_than_its_size_nor_gives_back_anything_else(tmp_path_factory, seed, size):
    cache = DiskCache(tmp_path_factory.mktemp("cache"), size)
    random = np.random.default_rng(seed)
    kept, most = {}, 0
    for name, nbytes in zip(random.integers(0, 60, 150).astype(str), random.integers(0, size // 3, 150), strict=True):
        content = random.bytes(nbytes)
        before = cache.get(name)
        cache.put(name, content)
        kept[name] = cache.get(name)
        assert kept[name] == (before if 4 + nbytes > size / 4 else content)
        most = max(most, nbytes_in(cache.folder))
    assert size / 2 < most <= size
    assert all(cache.get(name) in (None, content) for name, content in kept.items())


def test_what_was_not_read_for_longest_goes_first(cache):
    names = [f"name {i}" for i in range(7)]
    for i, name in enumerate(names):
        cache.put(name, bytes(10_000))
        os.utime(entries(cache)[-1], (i, i))  # so that their order does not depend on the clock
    cache.get(names[0])
    for name in ("new", "newer"):
        cache.put(name, bytes(10_000))
    assert [name for name in names if cache.get(name) is None] == names[1:3]
    assert cache.get("new") == cache.get("newer") == bytes(10_000)


def test_an_entry_is_at_most_a_quarter_of_the_size(cache):
    cache.put("larger", bytes(SIZE // 4 - 3))  # with its checksum of 4 bytes
    assert not entries(cache)
    cache.put("large", bytes(SIZE // 4 - 4))
    assert len(entries(cache)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: b"",
        lambda stored: stored[:3],
        lambda stored: stored[:-1],
        lambda stored: stored + b"\0",
        lambda stored: bytes([stored[0] ^ 1]) + stored[1:],
        lambda stored: stored[:50] + bytes([stored[50] ^ 128]) + stored[51:],
        lambda stored: bytes(len(stored)),
    ],
    ids=["empty", "no checksum", "cut", "longer", "checksum", "content", "zeros"],
)
def test_a_damaged_entry_is_none_until_it_is_kept_again(damage, cache):
    cache.put("name", b"content" * 20)
    (path,) = entries(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("name") is None
    cache.put("name", b"content" * 20)
    assert cache.get("name") == b"content" * 20


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_changed_byte_is_found(tmp_path_factory, content, data):
    cache = DiskCache(tmp_path_factory.mktemp("cache"), SIZE)
    cache.put("name", content)
    (path,) = entries(cache)
    stored = bytearray(path.read_bytes())
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(stored)
    assert cache.get("name") is None


def test_what_a_killed_writer_left_goes_after_an_hour(cache):
    left, under_way = cache.folder / "tmpleft", cache.folder / "tmpnew"
    for path, age in ((left, 3700), (under_way, 3500)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    cache.put("name", b"content")
    assert not left.exists()
    assert under_way.exists()


@pytest.mark.parametrize("gone", ["a file is there", "it was removed"])
def test_a_folder_that_cannot_be_written_is_logged_and_nothing_is_kept(gone, cache, caplog):
    cache.put("name", b"content")
    entries(cache)[0].unlink()
    cache.folder.rmdir()
    if gone == "a file is there":
        cache.folder.write_bytes(b"")
    with caplog.at_level(logging.WARNING, "s2cmc"):
        cache.put("name", b"content")
    assert f"cache_dir {cache.folder} cannot be written: " in caplog.text
    assert cache.get("name") is None


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=f"cache_dir {folder} cannot be used: .*(File exists|Not a directory)"):
            DiskCache(folder, SIZE)


def test_only_its_owner_reads_it(cache):
    """It may hold what took credentials to read."""
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    cache.put("name", b"content")
    assert entries(cache)[0].stat().st_mode & 0o077 == 0


def test_it_is_pickled_without_its_content(cache):
    cache.put("name", b"content" * 1000)
    sent = pickle.dumps(cache)
    again = pickle.loads(sent)  # noqa: S301, our own bytes
    assert (again.folder, again.size, again.get("name")) == (cache.folder, SIZE, b"content" * 1000)
    assert len(sent) < 1000


def test_the_content_stands_behind_its_crc32(cache):
    cache.put("name", b"content")
    assert entries(cache)[0].read_bytes() == zlib.crc32(b"content").to_bytes(4, "little") + b"content"


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # that is what is tried
def test_a_fork_keeps_although_another_thread_was_keeping_at_that_moment(cache, monkeypatch):
    looking, go_on, scan = threading.Event(), threading.Event(), os.scandir

    def slow(folder):
        looking.set()
        go_on.wait(10)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", slow)
    thread = threading.Thread(target=cache.put, args=("name", b"content"))
    thread.start()
    looking.wait(10)
    monkeypatch.undo()
    child = multiprocessing.get_context("fork").Process(target=cache.put, args=("child", b"content"))
    child.start()
    child.join(3)
    child.kill()
    go_on.set()
    thread.join()
    assert cache.get("child") == b"content"


def test_processes_that_write_at_once_keep_to_the_size(cache):
    """Each may add a 64th before it looks again; a quarter is free after each look."""
    writers = [writer(cache, 100 * i, 1000, 150) for i in range(4)]
    most = 0
    while any(process.poll() is None for process in writers):
        most = max(most, nbytes_in(cache.folder))
        time.sleep(0.002)
    for process in writers:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    assert SIZE / 2 < most <= SIZE
    assert nbytes_in(cache.folder) == sum(path.stat().st_size for path in entries(cache))  # nothing half written


def test_killed_writers_leave_nothing_that_is_given_back(cache):
    random = np.random.default_rng(0)
    for _ in range(4):
        with writer(cache, 0, 1_000_000, 2000) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(random.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
        assert (process.returncode, said) == (-signal.SIGKILL, b"")
    found = {i: cache.get(f"name {i}") for i in range(500)}
    kept = {i: content for i, content in found.items() if content is not None}
    assert len(kept) == len(entries(cache)) > 0  # no entry is damaged
    assert all(content == str(i).encode() * 2000 for i, content in kept.items())
