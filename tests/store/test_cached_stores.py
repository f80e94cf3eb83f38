"""Stores opened with `cache_dir`: what was read is not asked for again, and never taken for anything else."""

import hashlib
import logging
import os
import pickle
import shutil
import subprocess
import sys
import zlib

import pytest
import xarray as xr

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.publish import publish
from s2cmc.store.format import BUNDLE
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

READER = """
import sys, hashlib, s2cmc
opened = s2cmc.open_catalogue(sys.argv[1], cache_dir=sys.argv[2])
print(hashlib.sha256(opened.mask.values.tobytes() + opened.reflectance[:2].values.tobytes()).hexdigest())
"""
"""Another process: URL CACHE_DIR."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two releases of 3 scenes of 16 x 16 pixels, as stores. Not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for seed in (0, 1):
        make_release(folder / f"release{seed}", scenes=3, size=16, seed=seed)
        convert(str(folder / f"release{seed}"), str(folder / f"store{seed}"))
    return folder


@pytest.fixture
def web(made, tmp_path, serve):
    """A server over a folder that holds the first of them, as ``catalogue.zarr``."""
    shutil.copytree(made / "store0", tmp_path / "web" / "catalogue.zarr")
    return serve(tmp_path / "web")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def url(web):
    return f"{web.url}/catalogue.zarr"


def asked(web):
    """Paths that were asked for since the last time."""
    paths = [path for _, path, _ in web.log]
    web.log.clear()
    return paths


def read(url, cache, **options):
    return s2cmc.open_catalogue(url, cache_dir=cache, **options).load()


def rewritten(cache, change):
    """Change the content of every entry, and its checksum with it: as if it had come so."""
    for path in cache.iterdir():
        content = change(path.read_bytes()[4:])
        path.write_bytes(zlib.crc32(content).to_bytes(4, "little") + content)


def flipped(content):
    """A bit in the middle flipped."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_a_second_reading_asks_for_the_root_alone(backend, url, web, cache, made):
    first = read(url, cache, backend=backend)
    assert len(asked(web)) > 6
    again = read(url, cache, backend=backend)
    assert asked(web) == ["/catalogue.zarr/zarr.json"]
    xr.testing.assert_identical(first, s2cmc.open_catalogue(made / "store0").load())
    xr.testing.assert_identical(again, first)


def test_what_a_backend_kept_serves_the_other(url, web, cache):
    read(url, cache, backend="fsspec")
    asked(web)
    read(url, cache, backend="obstore")
    assert asked(web) == ["/catalogue.zarr/zarr.json"]


def test_a_part_is_kept_as_such(url, web, cache):
    opened = s2cmc.open_catalogue(url, cache_dir=cache)
    first = opened.reflectance[1, :, :, 3].values
    asked(web)
    again = s2cmc.open_catalogue(url, cache_dir=cache).reflectance[1, :, :, 3].values
    assert asked(web) == ["/catalogue.zarr/zarr.json"]
    assert (again == first).all()
    whole = s2cmc.open_catalogue(url, cache_dir=cache).reflectance[1].values
    assert (whole[:, :, 3] == first).all()
    assert whole.any()


def test_of_several_versions_the_pointer_is_asked_for_too(web, made, tmp_path, cache):
    place = f"{web.url}/versions"
    first = publish(str(made / "store0"), str(tmp_path / "web" / "versions")).version
    read(place, cache)
    asked(web)
    zero = read(place, cache)
    assert asked(web) == ["/versions/zarr.json", f"/versions/{first}/zarr.json"]
    second = publish(str(made / "store1"), str(tmp_path / "web" / "versions")).version
    one = read(place, cache)
    assert list(one.scene.values) != list(zero.scene.values)
    assert f"/versions/{second}/{BUNDLE}" in asked(web)
    xr.testing.assert_identical(read(f"{place}/{first}", cache), zero)


def test_a_store_that_is_replaced_at_the_same_url_is_never_taken_for_the_old_one(url, made, tmp_path, cache):
    old = read(url, cache)
    at = tmp_path / "web" / "catalogue.zarr"
    for store in ("store1", "store0"):
        shutil.rmtree(at)
        shutil.copytree(made / store, at)
        xr.testing.assert_identical(read(url, cache), s2cmc.open_catalogue(made / store).load())
    xr.testing.assert_identical(read(url, cache), old)


def test_a_dataset_that_was_opened_before_the_replacement_mixes_nothing(url, made, tmp_path, cache):
    """What it did not read yet is of the new store; what it keeps of it stands under the name of the old one alone."""
    opened = s2cmc.open_catalogue(url, cache_dir=cache)
    at = tmp_path / "web" / "catalogue.zarr"
    shutil.rmtree(at)
    shutil.copytree(made / "store1", at)
    opened.mask.load()
    xr.testing.assert_identical(read(url, cache), s2cmc.open_catalogue(made / "store1").load())


def test_the_same_store_at_another_url_is_kept_apart(url, web, cache, tmp_path):
    read(url, cache)
    shutil.copytree(tmp_path / "web" / "catalogue.zarr", tmp_path / "web" / "other.zarr")
    asked(web)
    read(f"{web.url}/other.zarr", cache)
    assert len(asked(web)) > 6


def test_damaged_entries_are_read_anew(url, web, cache):
    right = read(url, cache)
    for path in cache.iterdir():
        path.write_bytes(flipped(path.read_bytes()))
    xr.testing.assert_identical(read(url, cache), right)
    assert asked(web).count("/catalogue.zarr/mask/c/0/0/0") == 2
    read(url, cache)
    assert asked(web) == ["/catalogue.zarr/zarr.json"]


@pytest.mark.parametrize("change", [flipped, lambda content: content[: len(content) // 2], lambda content: b""])
def test_pixels_that_were_damaged_before_they_were_kept_are_healed(change, url, web, cache):
    """The checksum of the entry holds; that of the chunk tells, and what is read then replaces the entry."""
    opened = s2cmc.open_catalogue(url, cache_dir=cache)
    bundle = next(cache.iterdir())
    content = bundle.read_bytes()
    right = opened.copy().load()
    rewritten(cache, change)
    bundle.write_bytes(content)
    xr.testing.assert_identical(read(url, cache), right)
    assert "/catalogue.zarr/mask/c/0/0/0" in asked(web)
    xr.testing.assert_identical(read(url, cache), right)
    assert asked(web) == ["/catalogue.zarr/zarr.json"]


def test_coordinates_that_were_damaged_before_they_were_kept_are_healed(url, cache):
    right = s2cmc.open_catalogue(url, cache_dir=cache)
    rewritten(cache, flipped)
    xr.testing.assert_identical(s2cmc.open_catalogue(url, cache_dir=cache).scene, right.scene)


def test_what_is_damaged_on_the_server_is_an_error_again_and_again(url, cache, tmp_path):
    chunk = tmp_path / "web" / "catalogue.zarr" / "mask" / "c" / "0" / "0" / "0"
    content = chunk.read_bytes()
    chunk.write_bytes(flipped(content))
    for _ in range(2):
        with pytest.raises(s2cmc.StoreError, match=f"{url}/mask/c/0/0/0 is damaged"):
            s2cmc.open_catalogue(url, cache_dir=cache).mask.compute()
    chunk.write_bytes(content)
    assert s2cmc.open_catalogue(url, cache_dir=cache).mask.compute().shape == (3, 16, 16)


def test_processes_share_it(url, web, cache, made):
    first = s2cmc.open_catalogue(made / "store0")
    right = hashlib.sha256(first.mask.values.tobytes() + first.reflectance[:2].values.tobytes()).hexdigest()
    command = [sys.executable, "-c", READER, url, str(cache)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [right, right]
    asked(web)
    opened = s2cmc.open_catalogue(url, cache_dir=cache)
    assert (opened.mask.values == first.mask.values).all()
    assert (opened.reflectance[:2].values == first.reflectance[:2].values).all()
    assert asked(web) == ["/catalogue.zarr/zarr.json"]


def test_what_is_pickled_uses_it_too(url, web, cache):
    opened = s2cmc.open_catalogue(url, cache_dir=cache)
    right = opened.mask.values
    asked(web)
    again = pickle.loads(pickle.dumps(opened))  # noqa: S301, our own bytes
    assert (again.mask.values == right).all()
    assert asked(web) == []


def test_a_folder_that_becomes_unwritable_is_logged_and_reading_goes_on(url, cache, made, caplog):
    opened = s2cmc.open_catalogue(url, cache_dir=cache)
    shutil.rmtree(cache)
    cache.write_bytes(b"")
    with caplog.at_level(logging.WARNING, "s2cmc"):
        xr.testing.assert_identical(opened.mask.load(), s2cmc.open_catalogue(made / "store0").mask.load())
    assert f"cache_dir {cache} cannot be written: " in caplog.text


def test_it_stays_within_cache_size(url, cache):
    whole = read(url, cache)
    everything = sum(path.stat().st_size for path in cache.iterdir())
    shutil.rmtree(cache)
    xr.testing.assert_identical(read(url, cache, cache_size=everything // 2), whole)
    assert 0 < sum(path.stat().st_size for path in cache.iterdir()) <= everything // 2


def test_without_it_nothing_is_kept(url, web, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = sorted(os.walk(tmp_path))
    read(url, None)
    first = len(asked(web))
    read(url, None)
    assert len(asked(web)) == first
    assert sorted(os.walk(tmp_path)) == before


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_byte_is_refused(size, url, cache):
    with pytest.raises(s2cmc.ArgumentError, match=f"cache_size is {size}; expected bytes above 0"):
        s2cmc.open_catalogue(url, cache_dir=cache, cache_size=size)


def test_a_file_in_place_of_the_folder_is_refused(url, cache):
    cache.write_bytes(b"")
    with pytest.raises(s2cmc.StoreError, match=f"cache_dir {cache} cannot be used: "):
        s2cmc.open_catalogue(url, cache_dir=cache)
