"""When reading is given up and when not: hosts without an answer, slow links, answers that break off or are damaged."""

import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
import xarray as xr
from helpers.http_proxy import Fault, Proxy

import s2cmc

pytestmark = pytest.mark.slow

WAYS = pytest.mark.parametrize(
    ("form", "backend"),
    [("{}/b/c.zarr", "obstore"), ("{}/b/c.zarr", "fsspec"), ("s3://b/c.zarr", "obstore"), ("s3://b/c.zarr", "fsspec")],
    ids=["http", "http by fsspec", "s3", "s3 by fsspec"],
)


def open_at(form: str, url: str, **options: object) -> xr.Dataset:
    return s2cmc.open_catalogue(form.format(url), **({"endpoint_url": url} if form.startswith("s3") else {}), **options)


@pytest.fixture
def proxy(store: Path, serve, tmp_path: Path) -> Iterator[Proxy]:
    """In front of a server that has the store as b/c.zarr."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.zarr").symlink_to(store)
    with Proxy(serve(tmp_path).url) as proxy:
        yield proxy


def test_reading_is_given_up_after_a_minute_unless_told_otherwise():
    assert s2cmc.Access().timeout == 60


@WAYS
def test_a_host_that_refuses_connections_is_said_to_be_unreachable(form, backend):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        named = re.escape(f"{form.format(url)}/zarr.json cannot be read: the host cannot be reached; check the URL")
        started = time.monotonic()
        with pytest.raises(s2cmc.StoreError, match=named):
            open_at(form, url, backend=backend, timeout=1)
        assert time.monotonic() - started < 3.5


@WAYS
def test_a_host_that_accepts_and_never_answers_is_given_up_in_time(form, backend):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(
            s2cmc.StoreError, match=re.escape(f"{form.format(url)}/zarr.json cannot be read: no answer")
        ):
            open_at(form, url, backend=backend, timeout=1)
        assert time.monotonic() - started < 3.5


@WAYS
def test_a_host_that_is_back_before_the_time_limit_was_never_away(form, backend, proxy, catalogue):
    proxy.faults = [Fault("reset", times=3)]
    opened = open_at(form, proxy.url, backend=backend, timeout=6)
    xr.testing.assert_identical(opened.mask.compute(), catalogue.mask.compute())


@WAYS
def test_a_download_that_goes_on_is_not_cut_however_slow(form, backend, proxy, catalogue):
    """Its silence counts, and not how long it takes."""
    opened = open_at(form, proxy.url, backend=backend, timeout=1)
    proxy.rate = 40_000
    started = time.monotonic()
    got = opened.reflectance[0].compute()
    assert time.monotonic() - started > 1.2
    xr.testing.assert_identical(got, catalogue.reflectance[0].compute())


@WAYS
@pytest.mark.parametrize("kind", ["truncate", "stall"])
def test_an_answer_that_breaks_off_is_asked_for_again_where_versions_have_no_tags(
    kind, form, backend, proxy, catalogue
):
    """A server without ETags, of which nobody can say whether the second half belongs to the first."""
    opened = open_at(form, proxy.url, backend=backend, timeout=2)
    proxy.faults = [Fault(kind, "/mask/", times=1)]
    xr.testing.assert_identical(opened.mask.compute(), catalogue.mask.compute())
    assert proxy.faults[0].times == 0


@WAYS
@pytest.mark.parametrize(("kind", "reason"), [("503", "503|SlowDown|injected"), ("hang", "no answer within 1 s")])
def test_the_reason_is_what_happened(kind, reason, form, backend, proxy):
    """A server that answers that it is overloaded did answer."""
    proxy.faults = [Fault(kind)]
    named = re.escape(f"{form.format(proxy.url)}/zarr.json cannot be read: ")
    with pytest.raises(s2cmc.StoreError, match=f"{named}.*({reason})") as raised:
        open_at(form, proxy.url, backend=backend, timeout=1)
    assert ("no answer" in str(raised.value)) == (kind == "hang")


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_errors_stay_what_they_are_through_dask(scheduler, proxy):
    opened = open_at("{}/b/c.zarr", proxy.url, timeout=1)
    proxy.faults = [Fault("404", r"reflectance/c/7/")]
    named = re.escape(f"{proxy.url}/b/c.zarr/reflectance/c/7/0/0/0 is missing")
    with dask.config.set(scheduler=scheduler):
        with pytest.raises(s2cmc.StoreError, match=named):
            opened.reflectance.mean(["y", "x"]).compute()
        with pytest.raises(s2cmc.StoreError, match=named):
            opened.clouds.band_statistics(by="snow_ice").compute()


def test_errors_stay_what_they_are_through_other_processes(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "mask" / "c" / "0" / "0" / "0").unlink()
    with (
        dask.config.set(scheduler="processes"),
        pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/mask/c/0/0/0 is missing"),
    ):
        s2cmc.open_catalogue(copy).mask.compute()


@pytest.mark.parametrize(
    ("damaged", "read"),
    [
        ("coordinates.zip", lambda ds: ds.time),
        ("mask/c/0/0/0", lambda ds: ds.mask),
        ("reflectance/c/2/", lambda ds: ds.reflectance[2]),
    ],
)
def test_what_was_damaged_on_its_way_does_not_stay_in_the_cache(damaged, read, proxy, tmp_path, catalogue):
    """Neither at once nor at the next opening."""
    proxy.faults = [Fault("corrupt", damaged, times=1)]
    for _ in range(2):
        opened = open_at("{}/b/c.zarr", proxy.url, cache_dir=tmp_path / "cache")
        xr.testing.assert_identical(read(opened).compute(), read(catalogue).compute())
    assert proxy.faults[0].times == 0
