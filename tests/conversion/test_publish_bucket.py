"""What is published in a bucket of a real S3 server, as others see it: headers, plain xarray, the command."""

import re

import pytest
import xarray as xr

import s2cmc
from s2cmc.conversion.publish import publish
from s2cmc.conversion.verify.verification import verify
from s2cmc.storage.access import Access

pytestmark = pytest.mark.slow


@pytest.fixture
def url(bucket):
    return f"{bucket.url}/published"


@pytest.fixture(scope="module")
def published(new_bucket, store):
    """A bucket with `store` published in place; what it answered. Not to be changed."""
    bucket = new_bucket()
    bucket.allow_all("GetObject")
    return bucket, publish(str(store), f"{bucket.url}/place", access=bucket.access)


def test_versions_are_kept_by_caches_and_the_pointer_is_asked_for_anew(published):
    bucket, answer = published
    pointer = bucket.head("place/zarr.json")
    assert (pointer["CacheControl"], pointer["ContentType"]) == ("no-cache", "application/json")
    for key in (f"{answer.version}/zarr.json", f"{answer.version}/mask/c/0/0/0"):
        head = bucket.head(f"place/{key}")
        assert head["CacheControl"] == "public, max-age=31536000"
        assert head["ContentType"] == "application/json" if key.endswith(".json") else "application/octet-stream"


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_everyone_reads_it_without_a_listing(published, opened, backend):
    bucket, answer = published
    found = s2cmc.open_catalogue(f"{bucket.url}/place/", endpoint_url=bucket.endpoint, backend=backend)
    assert found.encoding["source"] == answer.url
    assert found.load().identical(opened.compute())


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # zarr leaves the sessions of its file systems open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_xarray_reads_a_version(published, opened):
    bucket, answer = published
    options = {"anon": True, "endpoint_url": bucket.endpoint}
    plain = xr.open_zarr(answer.url, storage_options=options, zarr_format=3, consolidated=True)
    xr.testing.assert_equal(plain.mask.where(plain.mask < 240, 255).load(), opened.mask.compute())
    xr.testing.assert_allclose(plain.reflectance.load(), opened.reflectance.compute())


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_everyone_proves_it(published, release, backend):
    """Where nothing may be listed, foreign objects are not found; all that must be there is read."""
    bucket, answer = published
    access = Access(endpoint_url=bucket.endpoint, backend=backend)
    assert verify(f"{bucket.url}/place", str(release), access=access) == []
    key = f"place/{answer.version}/mask/c/0/0/0"
    content = bucket.get(key)
    bucket.delete(key)
    try:
        problems = verify(answer.url, access=access)
    finally:
        bucket.put(key, content)
    assert len(problems) == 1
    assert f"{answer.url}/mask/c/0/0/0 cannot be read: access denied" in problems[0]


def test_the_command_publishes_and_verifies(bucket, url, store, run):
    answer = run("publish", store, url, *bucket.flags("--url-option"))
    assert answer.code == 0, answer.err
    assert f"{store} is published as {url}/" in answer.out
    assert re.search(r"\b1\d\d objects copied, 0 were there, 0\.\d MB", answer.out)
    again = run("publish", store, url, *bucket.flags("--url-option"))
    assert re.search(r": 0 objects copied, 1\d\d were there", again.out)
    proved = run("verify", url, *bucket.flags())
    assert proved.code == 0
    assert f"{url}: every object is there, every checksum holds" in proved.out


def test_the_command_publishes_from_one_bucket_into_another(bucket, url, store, run, new_bucket):
    source = new_bucket()
    source.upload(store, "catalogue.zarr")
    from_there, to_there = source.flags("--store-option"), bucket.flags("--url-option")
    assert run("publish", f"{source.url}/catalogue.zarr", url, *from_there, *to_there).code == 0
    anonymous = ("-o", f"endpoint_url={source.endpoint}")
    answer = run("publish", f"{source.url}/catalogue.zarr", url, *anonymous, *to_there)
    assert answer.is_one_message("access denied to anonymous readers")


def test_the_command_lists_what_is_wrong(bucket, url, store, run):
    version = publish(str(store), url, access=bucket.access).version
    below = f"published/{version}"
    bucket.delete(f"{below}/thumbnail/c/0/0/0/0")
    bucket.put(f"{below}/letter.txt", b"")
    content = bucket.get(f"{below}/mask/c/0/0/0")
    bucket.put(f"{below}/mask/c/0/0/0", content[:9] + bytes([content[9] ^ 1]) + content[10:])
    answer = run("verify", url, *bucket.flags())
    assert answer.code == 1
    said = [line for line in answer.out.splitlines() if not line.startswith("hit: ")]
    assert said[:2] == ["missing object: thumbnail/c/0/0/0/0", "foreign object: letter.txt"]
    assert {line.partition(" of ")[0] for line in said[2:]} == {"thumbnail", "mask"}
    assert f"{len(said)} differences" in answer.err


def test_without_rights_the_command_says_so(bucket, url, store, run):
    flags = bucket.flags("--url-option")
    flags[-1] = "secret=wrong"
    assert run("publish", store, url, *flags).is_one_message("access denied", "check the credentials")
    assert run("publish", store, f"{bucket.url}-not/a", *bucket.flags("--url-option")).is_one_message("no such bucket")
    assert run("publish", store, "https://example.org/a").is_one_message("cannot write to https://example.org/a")
    assert bucket.listed() == []
