"""Random patches: those of plain isel, in a reproducible order, read once they are asked for."""

import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import s2cmc
from s2cmc.errors import QueryError

pytestmark = pytest.mark.slow


def sliced(catalogue: xr.Dataset, positions: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance and labels of patches, as plain xarray gives them."""
    found = [
        catalogue[["reflectance", "mask"]].isel(scene=scene, y=slice(y, y + rows), x=slice(x, x + columns)).compute()
        for scene, y, x in positions
    ]
    return np.stack([one.reflectance for one in found]), np.stack([one["mask"] for one in found])


def check(batch: xr.Dataset, catalogue: xr.Dataset, positions: np.ndarray, rows: int, columns: int) -> None:
    """Hold a batch against plain xarray."""
    reflectance, mask = sliced(catalogue, positions, rows, columns)
    assert batch.reflectance.dims == ("patch", "y", "x", "band")
    assert batch["mask"].dims == ("patch", "y", "x")
    np.testing.assert_array_equal(batch.reflectance, reflectance, strict=True)
    np.testing.assert_array_equal(batch["mask"], mask, strict=True)
    np.testing.assert_array_equal(batch.scene, catalogue.scene.values[positions[:, 0]])
    np.testing.assert_array_equal(np.stack([batch.scene_index, batch.y_start, batch.x_start], -1), positions)


KINDS = {
    "as opened": lambda ds: ds,
    "some scenes and bands": lambda ds: ds.clouds.select("cloud_percent >= 0", bands=["B12", "B02", "B8A"]),
    "in memory": lambda ds: ds.load(),
    "changed": lambda ds: ds.assign(reflectance=ds.reflectance * np.float32(2), mask=ds["mask"] + np.uint8(1)),
    "turned and cut": lambda ds: ds.isel(scene=slice(None, None, -1), y=slice(3, 60), x=slice(1, 64)),
    "transposed": lambda ds: ds.transpose("band", "x", "y", ...),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, opened):
    """The catalogue in one of the states that users bring it in."""
    return KINDS[request.param](opened.copy())


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_patches_are_those_of_plain_isel(kind, data):
    height, width = kind.sizes["y"], kind.sizes["x"]
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    place = st.tuples(
        st.integers(0, kind.sizes["scene"] - 1), st.integers(0, height - rows), st.integers(0, width - columns)
    )
    positions = np.array(data.draw(st.lists(place, min_size=1, max_size=6)))
    batch = kind.clouds.patches_at(positions, (rows, columns))
    check(batch, kind.transpose("scene", "y", "x", "band", ...), positions, rows, columns)


@pytest.mark.parametrize("corner", [(0, 0), (0, 33), (33, 0), (33, 33), (31, 31), (32, 1)])
def test_patches_at_edges_and_across_chunks(catalogue, corner):
    """Chunks end at 32 of 64 pixels."""
    positions = np.array([(scene, *corner) for scene in (9, 0, 0)])
    check(catalogue.clouds.patches_at(positions, 31), catalogue, positions, 31, 31)


def test_no_patches_are_an_empty_batch(catalogue):
    batch = catalogue.clouds.patches_at(np.empty((0, 3), int), 8)
    assert batch.reflectance.shape == (0, 8, 8, 13)
    assert batch["mask"].shape == (0, 8, 8)


def test_a_batch_tells_of_its_bands(catalogue):
    batch = catalogue.clouds.select(bands=["B11", "B03"]).clouds.patches_at([(2, 28, 5)], 8)
    assert batch.band.values.tolist() == ["B11", "B03"]
    np.testing.assert_array_equal(batch.reflectance[0], catalogue.reflectance[2, 28:36, 5:13].sel(band=["B11", "B03"]))
    assert batch.wavelength.sel(band="B11") == catalogue.wavelength.sel(band="B11")
    assert batch.reflectance.attrs == catalogue.reflectance.attrs
    assert batch.reflectance.dtype == np.float32
    assert batch["mask"].dtype == np.uint8


def test_reflectance_lies_band_by_band_in_memory(catalogue):
    """So that (patch, band, y, x), which frameworks want, is no copy."""
    for kind in (catalogue, catalogue.clouds.select(bands=["B11", "B03"]), catalogue.load()):
        batch = kind.clouds.patches(8)[0]
        assert batch.reflectance.transpose("patch", "band", "y", "x").values.flags.c_contiguous


def test_an_epoch_is_made_of_its_batches(catalogue):
    patches = catalogue.clouds.patches(20, batch=6, count=15)
    batches = list(patches)
    assert [batch.sizes["patch"] for batch in batches] == [6, 6, 3]
    assert len(patches) == 3
    check(xr.concat(batches, "patch"), catalogue, patches.positions, 20, 20)
    for i, batch in enumerate(batches):
        assert batch.identical(patches[i])
    assert patches[-1].identical(batches[2])
    for beyond in (3, -4):
        with pytest.raises(IndexError, match=f"^batch {beyond} of 3$"):
            patches[beyond]


def test_by_default_patches_have_the_area_of_the_scenes(catalogue):
    assert len(catalogue.clouds.patches(16, batch=1)) == 10 * 16
    assert len(catalogue.clouds.patches(17, batch=1)) == 10 * 15  # 64 * 64 / 17 / 17 = 14.2


def test_the_order_follows_from_seed_and_epoch(catalogue):
    patches = catalogue.clouds.patches(16, seed=1)
    np.testing.assert_array_equal(patches.positions, catalogue.clouds.patches(16, seed=1).positions)
    np.testing.assert_array_equal(patches.positions, patches.epoch(1).epoch(0).positions)
    others = [patches, patches.epoch(1), patches.epoch(2), catalogue.clouds.patches(16, seed=2)]
    for one, other in pairwise(others):
        for column in range(3):
            assert (one.positions[:, column] != other.positions[:, column]).any()
        assert len(one) == len(other)


@given(
    scenes=st.integers(1, 10),
    batch=st.integers(1, 12),
    count=st.integers(1, 60),
    at_once=st.integers(1, 12),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
@settings(deadline=None)
def test_scenes_are_drawn_alike_and_patches_lie_in_them(opened, scenes, batch, count, at_once, size):
    at_once = min(at_once, batch)
    few = opened.isel(scene=slice(scenes))
    places = few.clouds.patches(size, batch=batch, count=count, scenes_per_batch=at_once, seed=count).positions
    assert places.shape == (count, 3)
    assert places.min() >= 0
    assert (places[:, 1:] <= 64 - np.array(size)).all()
    for first in range(0, count, batch):
        assert len(set(places[first : first + batch, 0])) <= at_once
    visits = -(-batch // at_once)  # at most so many patches of a scene follow each other
    times = np.bincount(places[:, 0], minlength=scenes)
    assert times.max() <= visits * -(-(count // batch + 1) * at_once // scenes)
    if at_once == batch:
        assert times.max() - times.min() <= 1


def test_places_in_a_scene_are_uniform(catalogue):
    rows, columns = catalogue.clouds.patches(61, count=8000).positions[:, 1:].T
    for places in (rows, columns):
        assert set(places) == {0, 1, 2, 3}
        np.testing.assert_allclose(np.bincount(places), 2000, atol=6 * np.sqrt(8000 * 3 / 16))


def test_they_are_sent_to_other_processes(store, catalogue, tmp_path):
    """As a DataLoader of PyTorch with workers that are spawned does it: batch by batch."""
    patches = catalogue.clouds.patches(20, batch=4, count=8)
    (tmp_path / "patches").write_bytes(pickle.dumps(patches))
    code = (
        "import pickle, pathlib, sys; patches = pickle.loads(pathlib.Path(sys.argv[1], 'patches').read_bytes());"
        "pathlib.Path(sys.argv[1], 'batch').write_bytes(pickle.dumps(patches[1]))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, timeout=60)
    xr.testing.assert_identical(pickle.loads(Path(tmp_path, "batch").read_bytes()), patches[1])  # noqa: S301, our own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 65}, r"^size 65 does not fit: .* up to \(64, 64\)$"),
        ({"size": (64, 65)}, r"^size \(64, 65\) does not fit"),
        ({"size": 0}, "^size 0 does not fit"),
        ({"size": 8.0}, "^size 8.0 does not fit"),
        ({"size": (8, 8, 13)}, "does not fit"),
        ({"batch": 0}, "^batch 0 is no whole number from 1 on$"),
        ({"batch": 2.5}, "^batch 2.5 is no whole number from 1 on$"),
        ({"count": 0}, "^count 0 is no whole number from 1 on$"),
        ({"seed": -1}, "^seed -1 is no whole number from 0 on$"),
        ({"batch": 4, "scenes_per_batch": 5}, "^scenes_per_batch 5 is above batch, 4"),
        ({"scenes_per_batch": 0}, "^scenes_per_batch 0 is no whole number from 1 on$"),
    ],
)
def test_what_cannot_be_is_one_error(catalogue, options, message):
    with pytest.raises(QueryError, match=message):
        catalogue.clouds.patches(**{"size": 8} | options)


def test_an_epoch_has_a_number_from_0_on(catalogue):
    with pytest.raises(QueryError, match=r"^epoch -1 is no whole number from 0 on$"):
        catalogue.clouds.patches(8).epoch(-1)


def test_of_no_scene_there_are_no_patches(catalogue):
    with pytest.raises(QueryError, match="no scene to take patches of"):
        catalogue.clouds.select("cloud_percent > 200").clouds.patches(8)


@pytest.mark.parametrize("place", [(10, 0, 0), (-1, 0, 0), (0, 57, 0), (0, 0, -1)])
def test_a_place_outside_is_an_error(catalogue, place):
    with pytest.raises(QueryError, match=r"^patch 1 at .* the last one of 8 x 8 pixels lies at \(9, 56, 56\)$"):
        catalogue.clouds.patches_at([(0, 0, 0), place, (0, 0, 1)], 8)


@pytest.mark.parametrize("positions", [[0, 0, 0], [(0, 0)], [(0.5, 0, 0)]])
def test_positions_are_whole_numbers_in_three_columns(catalogue, positions):
    with pytest.raises(QueryError, match=r"expected whole numbers \(patch, 3\)"):
        catalogue.clouds.patches_at(positions, 8)


def test_a_dataset_without_masks_says_what_is_missing(catalogue):
    with pytest.raises(s2cmc.CatalogueError, match="this Dataset has no 'mask'"):
        catalogue.drop_vars("mask").clouds.patches(8)
