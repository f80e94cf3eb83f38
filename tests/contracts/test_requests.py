"""How much is asked of a server for what: requests, bytes, and round trips one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers.http_proxy import Proxy
from helpers.raw_shards import bytes_of_bands
from helpers.request_log import depth

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.publish import publish
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

ROUND_TRIP = 0.03


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two synthetic scenes of 1022 x 1022 pixels, as many as a real one has."""
    folder = tmp_path_factory.mktemp("large")
    make_release(folder / "release", scenes=2, size=1022)
    convert(str(folder / "release"), str(folder / "catalogue.zarr"))
    return folder / "catalogue.zarr"


@pytest.fixture(scope="module")
def local(large: Path) -> xr.Dataset:
    return s2cmc.open_catalogue(large)


@pytest.fixture
def proxy(large: Path, serve: Callable) -> Iterator[Proxy]:
    with Proxy(serve(large.parent).url, rtt=ROUND_TRIP) as between:
        yield between


@pytest.fixture(params=["obstore", "fsspec"])
def remote(proxy: Proxy, large: Path, request: pytest.FixtureRequest) -> xr.Dataset:
    opened = s2cmc.open_catalogue(f"{proxy.url}/{large.name}", backend=request.param)
    proxy.log.clear()
    return opened


@pytest.fixture(scope="module")
def scene_nbytes(large: Path) -> int:
    return (large / "reflectance/c/1/0/0/0").stat().st_size


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_opening_is_two_requests_one_after_the_other(proxy, large, backend):
    s2cmc.open_catalogue(f"{proxy.url}/{large.name}", backend=backend).clouds.select("cumulus")
    assert len(proxy.log) == depth(proxy.log) == 2
    assert {request.method for request in proxy.log} == {"GET"}


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_opening_the_latest_version_is_three(proxy, large, backend):
    publish(str(large), str(large.parent / "published"))
    s2cmc.open_catalogue(f"{proxy.url}/published", backend=backend).clouds.select("cumulus")
    assert len(proxy.log) == depth(proxy.log) == 3
    assert sum(request.nbytes for request in proxy.log) <= 300_000


def test_true_colour_of_a_scene_is_the_index_and_a_range(proxy, remote, local, large):
    """All chunks of B02 to B04 lie side by side."""
    found = remote.clouds.rgb().isel(scene=1).compute()
    assert len(proxy.log) == 1 + 1
    assert depth(proxy.log) == 2
    assert sum(request.nbytes for request in proxy.log) == sum(bytes_of_bands(large, scene=1, bands=slice(1, 4)))
    np.testing.assert_array_equal(found, local.clouds.rgb()[1])


def test_a_list_of_bands_costs_no_more(proxy, remote, local, large):
    bands = ["B04", "B03", "B02"]
    found = remote.clouds.select(bands=bands).reflectance[1].compute()
    assert len(proxy.log) == 1 + 1
    assert sum(request.nbytes for request in proxy.log) == sum(bytes_of_bands(large, scene=1, bands=slice(1, 4)))
    np.testing.assert_array_equal(found, local.reflectance[1].sel(band=bands))


def test_a_whole_scene_is_one_request(proxy, remote, local, scene_nbytes):
    found = remote.reflectance[1].compute()
    assert [request.nbytes for request in proxy.log] == [scene_nbytes]
    np.testing.assert_array_equal(found, local.reflectance[1])


def test_a_scene_in_its_place_asks_for_each_of_its_objects_once(proxy, remote, local, large, scene_nbytes):
    """`valid` follows from the reflectance that is there; footprints ask for nothing at all."""
    placed = remote.clouds.scene(1)
    remote.clouds.select(bbox=(-180, -90, 180, 90), intersects=remote.clouds.footprints())
    assert not proxy.log
    found = placed[["reflectance", "valid"]].compute()
    assert [request.nbytes for request in proxy.log] == [scene_nbytes]
    np.testing.assert_array_equal(found.reflectance, local.reflectance[1].transpose("band", "y", "x"))
    proxy.log.clear()
    colour = placed.reflectance.sel(band=slice("B02", "B04")).compute()
    assert sum(request.nbytes for request in proxy.log) == sum(bytes_of_bands(large, scene=1, bands=slice(1, 4)))
    np.testing.assert_array_equal(colour, found.reflectance[1:4])


def test_all_masks_are_one_request_for_each_shard(proxy, remote, local):
    found = remote.clouds.class_fractions().compute()
    assert [request.path for request in proxy.log] == ["/catalogue.zarr/mask/c/0/0/0"]
    xr.testing.assert_identical(found, local.clouds.class_fractions().compute())


def test_a_thumbnail_is_the_index_and_its_own_range(proxy, remote, local, large):
    """Those of a shard take megabytes, unlike masks."""
    found = remote.thumbnail[0].compute()
    assert len(proxy.log) == 1 + 1
    shard = (large / "thumbnail/c/0/0/0/0").stat().st_size
    assert sum(request.nbytes for request in proxy.log) < 0.7 * shard
    np.testing.assert_array_equal(found, local.thumbnail[0])


def test_a_mask_brings_its_neighbours(proxy, remote, local):
    found = remote.mask[1].compute()
    remote.mask[0].compute()
    assert [request.path for request in proxy.log] == ["/catalogue.zarr/mask/c/0/0/0"]
    np.testing.assert_array_equal(found, local.mask[1])


def test_every_question_asks_with_get_alone(proxy, remote):
    """No LIST, which is a GET with a query, and no HEAD."""
    remote.thumbnail[0].compute()
    remote.reflectance[0, ::300, ::300, 2].compute()
    remote.clouds.select("cumulus").clouds.prevalence().compute()
    assert {(request.method, "?" in request.path) for request in proxy.log} == {("GET", False)}
