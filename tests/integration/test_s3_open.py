"""Stores on a real S3 server: signatures, policies, credentials from where the usual clients find them."""

import itertools
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import xarray as xr
from helpers.http_proxy import Proxy

import s2cmc

SHARD = "reflectance/c/3/0/0/0"  # all bands of a scene
OTHERS = {"key": "AKIAOTHERS", "secret": "of another"}
_NUMBERS = itertools.count()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stored(new_bucket, store):
    """A bucket of which nobody else may read anything, with `store` under catalogue.zarr; not to be changed."""
    bucket = new_bucket()
    bucket.upload(store, "catalogue.zarr")
    return bucket


@pytest.fixture
def allow(stored):
    """Let everyone do something in this bucket, until the end of the test."""
    yield stored.allow_all
    stored.client.delete_bucket_policy(Bucket=stored.name)


@pytest.fixture
def url(stored):
    return f"{stored.url}/catalogue.zarr"


@pytest.fixture(params=["obstore", "fsspec"])
def backend(request):
    return request.param


@pytest.fixture
def once():
    """Options of no other test: fsspec keeps a file system with what it found in the environment."""
    return {"timeout": 60 + next(_NUMBERS)}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Give variables of AWS: ``environment(REGION="eu-north-1")``. There are no others, and files only in tmp_path."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def give(keys=None, **variables):
        if keys:
            variables |= {"ACCESS_KEY_ID": keys["key"], "SECRET_ACCESS_KEY": keys["secret"]}
        for name, value in variables.items():
            monkeypatch.setenv(f"AWS_{name}", value)

    return give


class Recorder(ThreadingHTTPServer):
    """A server that has nothing and notes how it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Nothing)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Nothing(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self.server.requests.append({name.lower(): value for name, value in self.headers.items()})
        content = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def recorder():
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_with_its_key_everything_is_read_as_from_the_folder(stored, url, opened, backend):
    xr.testing.assert_identical(s2cmc.open_catalogue(url, backend=backend, **stored.options).load(), opened.compute())


@pytest.mark.parametrize("wrong", [{"secret": "another"}, {"key": "AKIANOBODY"}])
def test_a_wrong_key_or_secret_is_denied(stored, url, backend, wrong):
    with pytest.raises(
        s2cmc.StoreError, match=r"catalogue\.zarr/zarr\.json cannot be read: access denied.*credentials"
    ):
        s2cmc.open_catalogue(url, backend=backend, **stored.options | wrong)


def test_anonymous_readers_of_a_private_bucket_learn_how_to_sign(stored, url, backend):
    with pytest.raises(s2cmc.StoreError, match=r"denied to anonymous readers.*anonymous=False.*profile=.*key= and sec"):
        s2cmc.open_catalogue(url, backend=backend, endpoint_url=stored.endpoint)


def test_a_bucket_that_everyone_may_read_and_list(stored, url, opened, backend, allow):
    allow("GetObject", "ListBucket")
    found = s2cmc.open_catalogue(url, backend=backend, endpoint_url=stored.endpoint)
    np.testing.assert_array_equal(found.mask.values, opened.mask.values)
    with pytest.raises(s2cmc.StoreError, match=r"/nothing holds no catalogue: there is no zarr\.json"):
        s2cmc.open_catalogue(f"{stored.url}/nothing", backend=backend, endpoint_url=stored.endpoint)


def test_a_bucket_that_may_not_be_listed_opens(stored, url, opened, backend, allow):
    """So nothing needs a listing. What is not there is forbidden then, and the message says that it may be either."""
    allow("GetObject")
    found = s2cmc.open_catalogue(url, backend=backend, endpoint_url=stored.endpoint)
    np.testing.assert_array_equal(found.mask.values, opened.mask.values)
    with pytest.raises(s2cmc.StoreError, match=r"/nothing/zarr\.json cannot be read: .* or it is not there"):
        s2cmc.open_catalogue(f"{stored.url}/nothing", backend=backend, endpoint_url=stored.endpoint)


@pytest.mark.parametrize("actions", [("GetObject",), ("GetObject", "ListBucket")], ids=["unlisted", "listed"])
def test_a_missing_chunk_is_an_error_and_never_fill_values(stored, url, backend, allow, actions):
    allow(*actions)
    scene = s2cmc.open_catalogue(url, backend=backend, endpoint_url=stored.endpoint).reflectance.isel(scene=3)
    content = stored.get(f"catalogue.zarr/{SHARD}")
    stored.delete(f"catalogue.zarr/{SHARD}")
    try:
        with pytest.raises(s2cmc.StoreError, match=rf"{url}/{SHARD} (is missing|cannot be read: .*it is not there)"):
            scene.compute()
    finally:
        stored.put(f"catalogue.zarr/{SHARD}", content)
    scene.load()


def test_there_is_no_such_bucket(stored, backend):
    for options in ({"endpoint_url": stored.endpoint}, stored.options):
        with pytest.raises(s2cmc.StoreError, match="there is no such bucket; check the URL and endpoint_url"):
            s2cmc.open_catalogue(f"{stored.url}-not/catalogue.zarr", backend=backend, **options)


def test_credentials_and_endpoint_of_the_environment(stored, url, opened, backend, once, environment):
    """They are used only where that is asked for: the default stays anonymous."""
    environment(stored.options, ENDPOINT_URL=stored.endpoint)
    found = s2cmc.open_catalogue(url, backend=backend, **once, anonymous=False)
    np.testing.assert_array_equal(found.mask.values, opened.mask.values)
    with pytest.raises(s2cmc.StoreError, match="denied to anonymous readers"):
        s2cmc.open_catalogue(url, backend=backend, **once)


def test_a_key_that_is_given_goes_before_the_environment(stored, url, backend, once, environment, recorder):
    """And without the token there, which belongs to another key."""
    environment(stored.options, SESSION_TOKEN=stored.name, ENDPOINT_URL="http://127.0.0.1:9")
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        s2cmc.open_catalogue(url, backend=backend, **once, endpoint_url=recorder.url, **OTHERS)
    assert f"Credential={OTHERS['key']}/" in recorder.requests[0]["authorization"]
    assert "x-amz-security-token" not in recorder.requests[0]


def test_credentials_that_are_set_after_a_failure_are_found(stored, url, opened, environment):
    environment(OTHERS, ENDPOINT_URL=stored.endpoint)
    with pytest.raises(s2cmc.StoreError, match="access denied"):
        s2cmc.open_catalogue(url, anonymous=False)
    environment(stored.options)
    np.testing.assert_array_equal(s2cmc.open_catalogue(url, anonymous=False).scene.values, opened.scene.values)


def test_no_credentials_where_they_are_asked_for(stored, url, backend, once, environment):
    with pytest.raises(s2cmc.StoreError, match=r"no credentials|access denied; check the credentials"):
        s2cmc.open_catalogue(url, backend=backend, **once, anonymous=False, endpoint_url=stored.endpoint)


def test_a_profile_of_the_configuration_files(stored, url, opened, backend, once, environment, tmp_path, recorder):
    options = stored.options
    credentials = f"aws_access_key_id = {options['key']}\naws_secret_access_key = {options['secret']}\n"
    (tmp_path / "credentials").write_text(f"[ours]\n{credentials}[theirs]\n{credentials}")
    (tmp_path / "config").write_text(
        f"[profile ours]\nendpoint_url = {options['endpoint_url']}\n"
        f"[profile theirs]\nendpoint_url = {recorder.url}\nregion = eu-north-1\n"
    )
    found = s2cmc.open_catalogue(url, backend=backend, **once, profile="ours")
    np.testing.assert_array_equal(found.mask.values, opened.mask.values)
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        s2cmc.open_catalogue(url, backend=backend, **once, profile="theirs")
    assert f"Credential={options['key']}/" in recorder.requests[0]["authorization"]
    assert "/eu-north-1/s3/" in recorder.requests[0]["authorization"]
    began = time.monotonic()
    with pytest.raises(s2cmc.StoreError, match=r"profile.*nobody.*could not be found"):
        s2cmc.open_catalogue(url, backend=backend, **once, profile="nobody")
    assert time.monotonic() - began < 10, "it was tried again, but no try can mend it"


@pytest.mark.parametrize("variable", ["REGION", "DEFAULT_REGION"])
def test_the_region_of_the_environment(url, backend, once, environment, recorder, variable):
    environment(OTHERS, **{variable: "ap-south-1", "ENDPOINT_URL": recorder.url})
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        s2cmc.open_catalogue(url, backend=backend, **once, anonymous=False)
    assert "/ap-south-1/s3/" in recorder.requests[0]["authorization"]


@pytest.mark.parametrize("pays", [False, True])
def test_who_pays_is_told_in_every_request(url, backend, recorder, pays):
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        s2cmc.open_catalogue(url, backend=backend, endpoint_url=recorder.url, requester_pays=pays, **OTHERS)
    expected = "requester" if pays else None
    assert {headers.get("x-amz-request-payer") for headers in recorder.requests} == {expected}


def test_opening_takes_two_requests_and_nothing_is_listed(stored, url, backend):
    with Proxy(stored.endpoint) as proxy:
        ds = s2cmc.open_catalogue(url, backend=backend, **stored.options | {"endpoint_url": proxy.url})
        asked = [(request.method, request.path.partition("catalogue.zarr/")[2]) for request in proxy.log]
        assert asked == [("GET", "zarr.json"), ("GET", ds.attrs.get("bundle", asked[1][1]))]
        ds.load()
        assert len(proxy.log) > 2 + 10  # a shard for each scene, and the masks
        assert {request.method for request in proxy.log} == {"GET"}
        assert not [request.path for request in proxy.log if "?" in request.path]
