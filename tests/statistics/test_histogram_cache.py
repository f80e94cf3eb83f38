"""Histograms kept in a store of their own: made once, found by scene, and never half of one taken for a whole."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dask
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

import s2cmc
from s2cmc.errors import SceneError, StoreError

pytestmark = pytest.mark.slow

TWO_BANDS = ["B04", "B11"]


# -- cache


def _refused() -> dask.config.set:
    """Where dask computes anything, as `no_compute` has it for a whole test."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a pixel was read")

    return dask.config.set(scheduler=refuse)


@pytest.fixture(scope="module")
def kept(two: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of `two`. Not to be changed."""
    path = tmp_path_factory.mktemp("cache") / "histograms.zarr"
    two.clouds.band_histograms(cache=path)
    return path


@pytest.fixture
def cache(kept: Path, tmp_path: Path) -> Path:
    """A cache of `two`, to be spoilt."""
    return shutil.copytree(kept, tmp_path / "histograms.zarr")


def test_a_cache_holds_the_histograms(two: xr.Dataset, expected: xr.DataArray, tmp_path: Path) -> None:
    made = two.clouds.band_histograms(cache=tmp_path / "new" / "histograms.zarr")
    assert made.chunks is not None
    xr.testing.assert_identical(made.compute(), expected)
    with _refused():
        again = two.clouds.band_histograms(cache=str(tmp_path / "new" / "histograms.zarr"))
        assert again.chunks is not None
    xr.testing.assert_identical(again.compute(), expected)


def test_a_cache_that_is_there_is_not_made_again(two: xr.Dataset, kept: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    two.clouds.band_histograms(cache=kept).compute()
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before


def test_a_cache_spares_the_pixels(store: Path, serve: Callable, tmp_path: Path) -> None:
    server = serve(store.parent)
    remote = s2cmc.open_catalogue(f"{server.url}/{store.name}").isel(scene=[1, 3]).sel(band=TWO_BANDS)
    expected = remote.clouds.band_histograms(cache=tmp_path / "histograms.zarr").compute()
    server.log.clear()
    xr.testing.assert_identical(remote.clouds.band_histograms(cache=tmp_path / "histograms.zarr").compute(), expected)
    found = remote.clouds.band_statistics(histograms=remote.clouds.band_histograms(cache=tmp_path / "histograms.zarr"))
    assert found["count"].values.tolist() == [[2 * 64 * 64] * 2]
    assert server.log == []


def test_a_cache_made_of_a_catalogue_in_memory_serves_it_on_disk(
    two: xr.Dataset, held: xr.Dataset, expected: xr.DataArray, tmp_path: Path
) -> None:
    held.clouds.band_histograms(cache=tmp_path / "histograms.zarr")
    with _refused():
        found = two.clouds.band_histograms(cache=tmp_path / "histograms.zarr")
    xr.testing.assert_identical(found.compute(), expected)


def test_a_part_of_the_scenes_is_found_in_the_cache(two: xr.Dataset, expected: xr.DataArray, kept: Path) -> None:
    for scenes in ([1], [2, 0], []):
        with _refused():
            found = two.isel(scene=scenes).clouds.band_histograms(cache=kept)
        xr.testing.assert_identical(found.compute(), expected.isel(scene=scenes))


def test_scenes_that_the_cache_lacks_are_named(opened: xr.Dataset, kept: Path) -> None:
    more = opened.isel(scene=[0, 1, 2, 3, 4]).sel(band=TWO_BANDS)
    message = (
        r"holds histograms of 3 scenes, but 2 of those asked for are not among them, "
        rf"e\.g\. {more['scene'].values[0]}; make them of the whole catalogue, or choose another place"
    )
    with pytest.raises(StoreError, match=message), _refused():
        more.clouds.band_histograms(cache=kept)


def test_a_cache_of_another_catalogue_is_refused(two: xr.Dataset, kept: Path) -> None:
    for other in (two.assign_attrs(source_fingerprint="another"), two.drop_attrs()):
        with pytest.raises(StoreError, match=r"holds no band histograms of this catalogue.*choose another place"):
            other.clouds.band_histograms(cache=kept)


def test_a_cache_of_other_bands_is_refused(opened: xr.Dataset, kept: Path) -> None:
    """Of another number of bands, and of as many."""
    three = opened.isel(scene=[1, 3, 4])
    for bands in (["B04", "B08", "B11"], ["B02", "B03"], TWO_BANDS[::-1]):
        with pytest.raises(StoreError, match="holds no band histograms of this catalogue"):
            three.sel(band=bands).clouds.band_histograms(cache=kept)


def test_pixels_in_another_order_are_the_same_window(two: xr.Dataset, expected: xr.DataArray, kept: Path) -> None:
    with _refused():
        found = two.isel(y=slice(None, None, -1), x=slice(None, None, -1)).clouds.band_histograms(cache=kept)
    xr.testing.assert_equal(found.compute(), expected)


def test_a_cache_of_another_window_is_refused(two: xr.Dataset, kept: Path, tmp_path: Path) -> None:
    two.isel(y=[0, 1, 9]).clouds.band_histograms(cache=tmp_path / "three.zarr")
    with pytest.raises(StoreError, match="holds no band histograms of this catalogue"):
        two.isel(y=[0, 5, 9]).clouds.band_histograms(cache=tmp_path / "three.zarr")
    for window in ({"y": slice(10)}, {"x": slice(None, None, 2)}):
        with pytest.raises(StoreError, match="holds no band histograms of this catalogue"):
            two.isel(window).clouds.band_histograms(cache=kept)


def test_a_place_that_holds_anything_else_is_refused(two: xr.Dataset, store: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "notes.txt").write_text("mine")
    file = tmp_path / "file.txt"
    file.write_text("mine")
    damaged = tmp_path / "damaged.zarr"
    damaged.mkdir()
    (damaged / "zarr.json").write_text("{")
    for path in (notes, file, damaged):
        with pytest.raises(StoreError, match=r"holds no band histograms; choose another place"):
            two.clouds.band_histograms(cache=path)
    other = shutil.copytree(store, tmp_path / "catalogue.zarr")
    before = {path: path.stat().st_mtime_ns for path in other.rglob("*")}
    with pytest.raises(StoreError, match="holds no band histograms of this catalogue"):
        two.clouds.band_histograms(cache=other)
    assert {path: path.stat().st_mtime_ns for path in other.rglob("*")} == before
    assert (notes / "notes.txt").read_text() == file.read_text() == "mine"


def test_an_empty_folder_is_a_place_for_a_cache(two: xr.Dataset, expected: xr.DataArray, tmp_path: Path) -> None:
    found = two.clouds.band_histograms(cache=tmp_path)
    xr.testing.assert_identical(found.compute(), expected)


def test_an_unfinished_cache_is_made_anew(two: xr.Dataset, expected: xr.DataArray, cache: Path) -> None:
    del zarr.open_group(cache, mode="r+").attrs["complete"]
    (cache / "histogram/c/1/0/0/0").unlink()
    with pytest.raises(AssertionError, match="a pixel was read"), _refused():
        two.clouds.band_histograms(cache=cache)
    found = two.clouds.band_histograms(cache=cache)
    xr.testing.assert_identical(found.compute(), expected)
    with _refused():
        two.clouds.band_histograms(cache=cache)


def test_an_error_while_a_cache_is_made_leaves_it_unfinished(
    two: xr.Dataset, held: xr.Dataset, expected: xr.DataArray, tmp_path: Path
) -> None:
    reflectance = held.reflectance.copy()
    reflectance[2, 0, 0, 0] = 0.12345
    odd = held.assign(reflectance=reflectance.chunk(scene=1))
    for _ in range(2):
        with pytest.raises(SceneError, match="is no whole digital number"):
            odd.clouds.band_histograms(cache=tmp_path / "histograms.zarr")
    found = two.clouds.band_histograms(cache=tmp_path / "histograms.zarr")
    xr.testing.assert_identical(found.compute(), expected)


@pytest.mark.parametrize("at", [1, -2, -1, *(pytest.param(at, marks=pytest.mark.slow) for at in (0, 2, 8, -5))])
def test_a_cache_interrupted_at_any_write_is_made_anew(
    two: xr.Dataset, expected: xr.DataArray, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first write (the group) over the chunks to the last one (that all is there)."""
    write, fail_at, written = LocalStore.set, -1, 0

    async def write_or_fail(self: LocalStore, *args: object, **kwargs: object) -> None:
        nonlocal written
        written += 1
        if written - 1 == fail_at:
            raise OSError("the disk is full")
        await write(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "set", write_or_fail)
        two.clouds.band_histograms(cache=tmp_path / "whole.zarr")
        fail_at, written = at % written, 0
        with pytest.raises(OSError, match="the disk is full"):
            two.clouds.band_histograms(cache=tmp_path / "histograms.zarr")
    found = two.clouds.band_histograms(cache=tmp_path / "histograms.zarr")
    xr.testing.assert_identical(found.compute(), expected)


def test_a_chunk_that_is_gone_is_an_error_and_no_zeros(two: xr.Dataset, cache: Path) -> None:
    (cache / "histogram/c/1/0/0/0").unlink()
    found = two.clouds.band_histograms(cache=cache)
    with pytest.raises((StoreError, ValueError), match="chunk"):  # zarr's own error is a ValueError
        found.isel(scene=1).compute()
    assert found.isel(scene=[0, 2]).sum().compute().item() == 2 * 2 * 64 * 64


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_chunk_that_a_power_failure_tore_is_an_error(two: xr.Dataset, cache: Path, keep: float) -> None:
    chunk = cache / "histogram/c/1/0/0/0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: int(keep * len(whole))].ljust(len(whole), b"\0"))
    found = two.clouds.band_histograms(cache=cache)
    with pytest.raises(ValueError, match="checksum"):
        found.isel(scene=1).compute()
