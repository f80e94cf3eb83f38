"""A store in a folder that nginx serves: right with whatever it is told to do, and in few requests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers.nginx import EVERYTHING_COMPRESSED, NGINX, SERVING, WITHOUT_RANGES, Asked, Nginx, ask
from helpers.requirements import without

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

WAYS = {"advised": SERVING, "nothing": "", "no ranges": WITHOUT_RANGES, "compressed": EVERYTHING_COMPRESSED}

backends = pytest.mark.parametrize("backend", ["obstore", "fsspec"])


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Start nginx over folders: ``nginx(folder, serving)``."""
    if NGINX is None:
        without("nginx is not installed")
    started: list[Nginx] = []

    def start(folder: Path, serving: str = SERVING) -> Nginx:
        started.append(Nginx(folder, tmp_path / f"nginx{len(started)}", serving))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def long_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """66 scenes of 16 x 16 pixels: a whole shard of masks, and one of 2 scenes."""
    folder = tmp_path_factory.mktemp("long")
    convert(str(make_release(folder / "release", scenes=66, size=16)), str(folder / "catalogue.zarr"))
    return folder / "catalogue.zarr"


@pytest.fixture(scope="session")
def loaded(store: Path) -> xr.Dataset:
    """`store`, read from its folder."""
    return s2cmc.open_catalogue(store).load()


def without_host(asked: list[Asked], name: str) -> list[tuple[str, int]]:
    return [(request.path.removeprefix(f"/{name}/"), request.status) for request in asked]


@backends
@pytest.mark.parametrize("way", WAYS)
def test_every_pixel_and_coordinate_is_the_same(way, backend, nginx, store, loaded):
    server = nginx(store.parent, WAYS[way])
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    xr.testing.assert_identical(opened.load(), loaded)
    parts = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    for name, part in {
        "reflectance": np.s_[4:6, 20:40, 30:35, 1:3],
        "mask": np.s_[9],
        "alt_mask": np.s_[:, 5],
    }.items():
        xr.testing.assert_identical(parts[name][part].compute(), loaded[name][part])
    assert {request.status for request in server.asked()} == ({200} if way == "no ranges" else {200, 206})


@backends
def test_opening_is_two_requests_and_a_scene_one(backend, nginx, store):
    server = nginx(store.parent)
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    assert without_host(server.asked(), store.name) == [("zarr.json", 200), ("coordinates.zip", 200)]
    opened.reflectance[3].compute()
    assert without_host(server.asked(), store.name) == [("reflectance/c/3/0/0/0", 200)]


@backends
def test_masks_are_one_request_for_each_shard(backend, nginx, long_store):
    server = nginx(long_store.parent)
    opened = s2cmc.open_catalogue(f"{server.url}/{long_store.name}", backend=backend)
    server.asked()
    fractions = opened.clouds.class_fractions().compute()
    assert sorted(without_host(server.asked(), long_store.name)) == [("mask/c/0/0/0", 200), ("mask/c/1/0/0", 200)]
    xr.testing.assert_identical(fractions, s2cmc.open_catalogue(long_store).clouds.class_fractions().compute())


@backends
def test_three_bands_are_an_index_and_at_most_four_ranges(backend, nginx, store, loaded):
    server = nginx(store.parent)
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    server.asked()
    picture = opened.clouds.rgb().isel(scene=2).compute()
    index, *ranges = server.asked()
    assert {request.path for request in (index, *ranges)} == {f"/{store.name}/reflectance/c/2/0/0/0"}
    assert (index.status, index.range) == (206, f"bytes=-{4 * 13 * 16 + 4}")
    assert 1 <= len(ranges) <= 4
    assert {request.status for request in ranges} == {206}
    xr.testing.assert_identical(picture, loaded.clouds.rgb().isel(scene=2))


@backends
def test_a_server_without_ranges_costs_whole_shards_for_a_part(backend, nginx, store):
    """Slow, and said nowhere: `max_ranges 0` is to be avoided. Nothing is asked for more than four times."""
    server = nginx(store.parent, WITHOUT_RANGES)
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    server.asked()
    opened.reflectance[2, :, :, 3].compute()
    asked = server.asked()
    assert {request.status for request in asked} == {200}
    assert len(asked) <= 2 * (1 + 4)


@backends
def test_no_compressed_answer_is_asked_for(backend, nginx, store):
    """Compressed on the way, an object has no byte positions; nginx then sends it whole."""
    server = nginx(store.parent, EVERYTHING_COMPRESSED)
    shard = f"{server.url}/{store.name}/mask/c/0/0/0"
    _, headers = ask(shard, **{"Accept-Encoding": "gzip", "Range": "bytes=-132"})
    assert headers["Content-Encoding"] == "gzip"
    server.asked()
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    opened[["mask", "reflectance"]].isel(scene=slice(2)).load()
    assert {request.encoding for request in server.asked()} == {"-"}


def test_a_web_page_may_read_it(nginx, store):
    """What browsers ask for: a preflight answered with 204, and headers that let a page see ranges."""
    server = nginx(store.parent)
    chunk = f"{server.url}/{store.name}/mask/c/0/0/0"
    origin = {"Origin": "https://example.org"}
    status, headers = ask(chunk, "OPTIONS", **origin, **{"Access-Control-Request-Headers": "range"})
    assert (status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Allow-Headers"]) == (
        204,
        "*",
        "Range",
    )
    status, headers = ask(chunk, Range="bytes=-132", **origin)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Content-Length"]) == (206, "*", "132")
    assert {"Content-Range", "Content-Length", "ETag"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    assert headers.keys() >= {"Content-Range", "ETag"}
    status, headers = ask(f"{server.url}/{store.name}/nothing", **origin)
    assert (status, headers["Access-Control-Allow-Origin"]) == (404, "*")


def test_metadata_is_compressed_for_those_who_ask_and_chunks_never(nginx, store):
    server = nginx(store.parent)
    _, metadata = ask(f"{server.url}/{store.name}/zarr.json", **{"Accept-Encoding": "gzip"})
    _, chunk = ask(f"{server.url}/{store.name}/mask/c/0/0/0", **{"Accept-Encoding": "gzip"})
    assert metadata["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in chunk


@backends
def test_folders_that_may_not_be_listed_are_read(backend, nginx, store):
    server = nginx(store.parent)
    for folder in ("/", "/mask/", "/mask/c/"):
        assert ask(f"{server.url}/{store.name}{folder}")[0] == 403
    server.asked()
    s2cmc.open_catalogue(f"{server.url}/{store.name}/", backend=backend).mask.compute()
    assert not [request.path for request in server.asked() if request.path.endswith("/") or request.status >= 300]


@backends
def test_a_missing_chunk_is_named(backend, nginx, store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "www" / store.name)
    (copy / "mask" / "c" / "0" / "0" / "0").unlink()
    (copy / "reflectance" / "c" / "1" / "0" / "0" / "0").unlink()
    server = nginx(copy.parent)
    opened = s2cmc.open_catalogue(f"{server.url}/{copy.name}", backend=backend)
    with pytest.raises(s2cmc.StoreError, match=rf": {server.url}/{copy.name}/mask/c/0/0/0 is missing; "):
        opened.clouds.class_fractions().compute()
    for part in (opened.reflectance[1], opened.reflectance[1, :9, :9, 2]):
        with pytest.raises(s2cmc.StoreError, match=r"/reflectance/c/1/0/0/0 is missing; "):
            part.compute()
    opened.reflectance[0].compute()


@backends
def test_a_page_in_place_of_a_missing_chunk_is_no_data(backend, nginx, store, tmp_path):
    """Servers of single-page applications answer everything with 200 and a page."""
    copy = shutil.copytree(store, tmp_path / "www" / store.name)
    (copy / "mask" / "c" / "0" / "0" / "0").unlink()
    (copy.parent / "index.html").write_text("<html>" + "not found " * 1000)
    server = nginx(copy.parent, "error_page 404 =200 /index.html;")
    opened = s2cmc.open_catalogue(f"{server.url}/{copy.name}", backend=backend)
    with pytest.raises(s2cmc.StoreError, match=r"/mask/c/0/0/0 is damaged: Stored and computed checksum do not match"):
        opened.mask.compute()
    with pytest.raises(s2cmc.StoreError, match=r"nowhere/zarr\.json is damaged: it is no JSON"):
        s2cmc.open_catalogue(f"{server.url}/nowhere", backend=backend)


@backends
def test_what_may_not_be_read_or_is_not_there_is_said(backend, nginx, store):
    server = nginx(store.parent, "location /catalogue.zarr/thumbnail { deny all; } location /private { deny all; }")
    opened = s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    with pytest.raises(s2cmc.StoreError, match=r"/thumbnail/c/0/0/0/0 cannot be read: access denied; check"):
        opened.thumbnail.compute()
    with pytest.raises(s2cmc.StoreError, match=r"/private/zarr\.json cannot be read: access denied; check"):
        s2cmc.open_catalogue(f"{server.url}/private", backend=backend)
    with pytest.raises(s2cmc.StoreError, match=r"/nowhere holds no catalogue: there is no zarr\.json; check the path"):
        s2cmc.open_catalogue(f"{server.url}/nowhere", backend=backend)


@backends
def test_a_redirected_store_is_read(backend, nginx, store, loaded):
    server = nginx(store.parent, "location /old/ { rewrite ^/old/(.*) /$1 permanent; }")
    opened = s2cmc.open_catalogue(f"{server.url}/old/{store.name}", backend=backend)
    part = np.s_[4, :9, :9, 2]
    xr.testing.assert_identical(opened.reflectance[part].compute(), loaded.reflectance[part])
    assert {request.status for request in server.asked()} == {301, 200, 206}


def test_plain_xarray_reads_it_as_from_a_folder(nginx, store):
    server = nginx(store.parent)
    whole = {"y": -1, "x": -1, "band": -1}  # or each chunk of a shard would be two requests
    plain = xr.open_zarr(f"{server.url}/{store.name}", chunks=whole)
    assert without_host(server.asked(), store.name).count(("zarr.json", 200)) == 1
    xr.testing.assert_identical(plain.load(), xr.open_zarr(store, chunks=whole).load())
    assert {request.status for request in server.asked()} == {200, 206}


@pytest.mark.parametrize("serving", [WITHOUT_RANGES, EVERYTHING_COMPRESSED])
def test_plain_xarray_is_told_where_it_got_other_bytes_than_it_asked_for(serving, nginx, store):
    """fsspec takes a whole object for the range that it asked for; the checksums of the store tell."""
    server = nginx(store.parent, serving)
    plain = xr.open_zarr(f"{server.url}/{store.name}")
    with pytest.raises(ValueError, match="Stored and computed checksum do not match"):
        plain.reflectance[1, :9, :9, 2].compute()
