"""Credentials are in no error, whatever fails."""

import gc
import shutil
import traceback
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from helpers.credentials import PASSWORD, SIGNATURE, TOKEN, USER, WRONG, Guarded

import s2cmc
from s2cmc.conversion.source.listing import open_release
from s2cmc.errors import CatalogueError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_errors_of_urls_do_not_tell(backend, guarded, serve, tiny_store, silent, said, tmp_path):
    userinfo = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}@"

    def opening(url: str, **options: Any) -> Callable[[], object]:
        return lambda: s2cmc.open_catalogue(url, backend=backend, timeout=0.5, **options)

    said.failing(opening(guarded("none", "password")), "holds no catalogue")
    said.failing(opening(guarded("store.zarr", "password").replace(USER, f"{USER}x")), "access denied")
    said.failing(opening(f"http://{userinfo}{silent}/store"), "no answer within|cannot be reached")
    said.failing(opening(f"http://{userinfo}127.0.0.1:9/store"), "cannot be reached")
    said.failing(opening(f"http://{USER}:planted-pass/x?y#z@127.0.0.1:9/store"), "cannot be")
    said.failing(opening(f"http://{silent}/store?{SIGNATURE}"), "no answer within|cannot be|with a query")
    said.failing(opening(guarded("none", "signature")), "holds no catalogue|with a query")
    said.failing(opening(f"ftp://{userinfo}127.0.0.1:9/store"), "cannot be")
    said.failing(opening(f"foo://{userinfo}h/store?{SIGNATURE}"), "cannot be")
    said.failing(opening("s3://b/c", endpoint_url=f"{userinfo}h"), "expected http:// or https://")
    said.failing(opening("s3://b/c", endpoint_url=f"http://{userinfo}{silent}"), "cannot be")
    said.failing(opening(f"s3://{userinfo}bucket/c", endpoint_url=f"http://{silent}"), "cannot be|names no")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "zarr.json").write_bytes((tiny_store / "zarr.json").read_bytes()[:-100])
    (damaged / "none").mkdir()
    server = serve(tmp_path, Guarded)
    url = f"http://{userinfo}{server.url.removeprefix('http://')}/damaged"
    said.failing(opening(url), "damaged")


@pytest.mark.parametrize("way", ["password", "signature"])
def test_errors_while_reading_pixels_do_not_tell(way, serve, tiny_store, said, tmp_path):
    shutil.copytree(tiny_store, tmp_path / "copy")
    server = serve(tmp_path, Guarded)
    host = server.url.removeprefix("http://")
    user = f"{USER}:{urllib.parse.quote(PASSWORD, safe='')}@" if way == "password" else ""
    query = f"?{SIGNATURE}" if way == "signature" else ""
    catalogue = s2cmc.open_catalogue(f"http://{user}{host}/copy{query}", timeout=2)
    (shard,) = (path for path in (tmp_path / "copy" / "mask").rglob("0") if path.is_file())
    shard.write_bytes(bytes(shard.stat().st_size))
    said.failing(catalogue["mask"].compute, "damaged")
    shard.write_bytes(shard.read_bytes()[:10])
    said.failing(catalogue["mask"].compute, "cut short|damaged|cannot be read")
    shard.unlink()
    said.failing(catalogue["mask"].compute, "is missing")
    server.close()
    said.failing(catalogue["mask"].compute, "cannot be")


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_errors_of_s3_do_not_tell(backend, bucket, said, silent, tiny_store):
    url = bucket.upload(tiny_store, "store.zarr")

    def opening(**options: Any) -> Callable[[], object]:
        options = {"endpoint_url": bucket.endpoint, "backend": backend, "timeout": 2} | options
        return lambda: s2cmc.open_catalogue(options.pop("url", url), **options)

    said.failing(opening(**bucket.options | {"secret": WRONG["secret"]}), "access denied")
    said.failing(opening(**WRONG), "access denied")
    said.failing(opening(**bucket.options, url=f"{url}/none"), "holds no catalogue|missing")
    said.failing(opening(**bucket.options, url="s3://no-such-bucket-here/x"), "no such bucket")
    said.failing(opening(**WRONG, endpoint_url=f"http://{silent}"), "no answer|cannot be")
    said.failing(opening(storage_options={"nonsense": TOKEN, "token": TOKEN}), "nonsense|no credentials")
    said.failing(lambda: s2cmc.open_catalogue(url, key=WRONG["key"]), "key and secret go together")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/store", {"token": TOKEN, "backend": "fsspec"}),
        ("gs://bucket/store", {"service_account_key": TOKEN}),
        ("gs://bucket/store", {"application_credentials": TOKEN}),
        ("az://container/store", {"account_name": "account", "account_key": TOKEN}),
        ("az://container/store", {"account_name": "account", "sas_key": TOKEN}),
        ("az://container/store", {"connection_string": TOKEN, "backend": "fsspec"}),
        ("az://container/store", {"account_name": "account", "account_key": TOKEN, "backend": "fsspec"}),
    ],
)
def test_options_that_are_no_credentials_are_not_repeated(url, options, said, silent):
    """They may be credentials with a slip in them."""
    endpoint = {} if "connection_string" in options else {"endpoint_url": f"http://{silent}"}
    try:
        s2cmc.open_catalogue(url, timeout=0.5, **endpoint, **_as_options(options))
        pytest.fail("it opened")
    except (CatalogueError, OSError) as error:
        said.add("".join(traceback.format_exception(error)), "x" * 1000)
    gc.collect()  # connections of clients that failed


def _as_options(options: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in options.items() if name == "backend"}
    return own | {"storage_options": {name: value for name, value in options.items() if name not in own}}


@pytest.mark.parametrize("way", ["password", "signature"])
def test_errors_of_releases_and_predictions_do_not_tell(way, guarded, said, opened):
    """Nor does what the file system said, from which they are raised."""
    url = guarded("none", way)
    said.failing(lambda: open_release(url), "holds no classification_tags|cannot be read")
    said.failing(lambda: opened.clouds.confusion(url), "does not exist|cannot be read")
    said.failing(lambda: open_release(f"simplecache::{url}"), "holds no classification_tags|cannot be read")
    said.add("x" * 1000)
