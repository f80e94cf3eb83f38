"""Places of other kinds: Google and Azure buckets, memory, chains of file systems, and those that nobody knows."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile

import fsspec
import pytest
import xarray as xr
from helpers.file_server import RangeHandler
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, MemoryStore

import s2cmc

pytestmark = pytest.mark.slow


class _BucketHandler(RangeHandler):
    """What Google's and Azure's clients expect of an answer besides."""

    def do_GET(self):  # noqa: N802, the name of the base class
        if part := self.headers.get("x-ms-range"):
            self.headers["Range"] = part
        super().do_GET()

    def end_headers(self):
        self.send_header("ETag", '"1"')
        if self.headers.get("Range"):
            self.send_header("Last-Modified", self.date_time_string(0))
        self.send_header("x-ms-blob-type", "BlockBlob")
        super().end_headers()


@pytest.fixture(scope="module")
def service(store, tmp_path_factory):
    """URL of a service whose bucket ``bucket`` holds `store` as ``deep/catalogue.zarr``, and what it was asked."""
    folder = tmp_path_factory.mktemp("service")
    for bucket in ("bucket", "account/bucket", "download/storage/v1/b/bucket/o"):
        (folder / bucket / "deep").mkdir(parents=True)
        (folder / bucket / "deep" / "catalogue.zarr").symlink_to(store)
    log = []
    handler = functools.partial(_BucketHandler, directory=str(folder), log=log)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", log
        server.shutdown()
        thread.join()


def same(found, opened):
    """Coordinates, masks, and a band of a scene, for which the index of its shard is read first."""
    for part in (found, opened):
        assert part.reflectance.data.npartitions == 10  # lazy
    xr.testing.assert_identical(found.mask.compute(), opened.mask.compute())
    xr.testing.assert_identical(found.reflectance[2, :, :, 3].compute(), opened.reflectance[2, :, :, 3].compute())
    return True


def connection_string(url):
    return f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey=a2V5;BlobEndpoint={url}/account;"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/deep/catalogue.zarr", {}),
        ("az://bucket/deep/catalogue.zarr", {"account_name": "account"}),
        ("abfs://bucket/deep/catalogue.zarr", {"account_name": "account"}),
        ("abfss://bucket@account.dfs.core.windows.net/deep/catalogue.zarr", {}),
    ],
)
def test_obstore_reads_google_and_azure_anonymously(url, options, service, opened):
    endpoint, log = service
    log.clear()
    found = s2cmc.open_catalogue(url, endpoint_url=endpoint, storage_options=options)
    assert len(log) == 2
    assert same(found, opened)
    assert found.encoding["source"] == url


def test_the_endpoint_may_stand_among_the_options(service, opened):
    options = {"base_url": service[0]}
    found = s2cmc.open_catalogue("gs://bucket/deep/catalogue.zarr", storage_options=options)
    assert same(found, opened)


def test_the_account_may_stand_in_the_environment(service, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert s2cmc.open_catalogue("az://bucket/deep/catalogue.zarr", endpoint_url=service[0]).sizes["scene"] == 10


@pytest.mark.parametrize("scheme", ["az", "abfs"])
def test_fsspec_reads_azure(scheme, service, opened):
    pytest.importorskip("adlfs")
    options = {"connection_string": connection_string(service[0])}
    found = s2cmc.open_catalogue(
        f"{scheme}://bucket/deep/catalogue.zarr", backend="fsspec", anonymous=True, storage_options=options
    )
    assert same(found, opened)


def test_fsspec_reads_google(service, opened):
    """In a process of its own: gcsfs reads its environment once, and would ask Google for the kind of the bucket."""
    pytest.importorskip("gcsfs")
    code = """if True:
        import json, sys, s2cmc
        found = s2cmc.open_catalogue("gs://bucket/deep/catalogue.zarr", endpoint_url=sys.argv[1], backend="fsspec")
        print(json.dumps([found.scene.values.tolist(), int(found.mask.sum())]))
    """
    environment = os.environ | {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, service[0]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [opened.scene.values.tolist(), int(opened.mask.sum())]


@pytest.mark.parametrize("url", ["gs://bucket/nothing", "gs://nobucket/x", "az://bucket/nothing"])
def test_what_is_not_there_is_said(url, service, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    with pytest.raises(s2cmc.StoreError, match=rf"{url} holds no catalogue: there is no zarr\.json"):
        s2cmc.open_catalogue(url, endpoint_url=service[0])


def test_memory_and_files_are_read_by_url(store, opened):
    memory = fsspec.filesystem("memory")
    memory.put(f"{store}/", "/somewhere/", recursive=True)
    try:
        assert same(s2cmc.open_catalogue("memory://somewhere"), opened)
    finally:
        memory.rm("/somewhere", recursive=True)
    for url in (f"file://{store}", f"local://{store}", f"file://{store}/"):
        assert same(s2cmc.open_catalogue(url), opened)
    with pytest.raises(s2cmc.StoreError, match="memory://somewhere holds no catalogue"):
        s2cmc.open_catalogue("memory://somewhere")


@pytest.fixture(scope="module")
def zipped(store, tmp_path_factory):
    """`store` in a zip, which is not compressed again."""
    path = tmp_path_factory.mktemp("zipped") / "catalogue.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in store.rglob("*"):
            if file.is_file():
                archive.write(file, f"catalogue.zarr/{file.relative_to(store)}")
    return path


def test_a_zip_is_read_where_it_lies(zipped, opened):
    for url in (f"zip://catalogue.zarr::{zipped}", f"zip://catalogue.zarr::file://{zipped}"):
        assert same(s2cmc.open_catalogue(url), opened)
    with pytest.raises(s2cmc.StoreError, match=r"zip://nothing::.* holds no catalogue"):
        s2cmc.open_catalogue(f"zip://nothing::{zipped}")


def test_a_zip_on_a_server_is_read_by_ranges(zipped, opened, serve):
    server = serve(zipped.parent)
    found = s2cmc.open_catalogue(f"zip://catalogue.zarr::{server.url}/{zipped.name}")
    assert same(found, opened)


@pytest.mark.parametrize("cache", ["simplecache", "filecache"])
def test_a_cache_of_fsspec_may_stand_in_front(cache, store, serve, opened, tmp_path):
    server = serve(store.parent)
    options = {cache: {"cache_storage": str(tmp_path)}}
    assert same(s2cmc.open_catalogue(f"{cache}::{server.url}/{store.name}", storage_options=options, timeout=2), opened)
    assert any(tmp_path.iterdir())


def test_a_cache_in_front_of_a_folder(store, opened, tmp_path):
    options = {"simplecache": {"cache_storage": str(tmp_path)}}
    assert same(s2cmc.open_catalogue(f"simplecache::file://{store}", storage_options=options, timeout=2), opened)


def test_a_zarr_store_is_read_as_it_is(store, opened):
    files = [file for file in store.rglob("*") if file.is_file()]
    buffer = default_buffer_prototype().buffer
    held = MemoryStore({str(file.relative_to(store)): buffer.from_bytes(file.read_bytes()) for file in files})
    for given in (
        held,
        LocalStore(store, read_only=True),
        FsspecStore.from_url(f"local://{store}", read_only=True),
    ):
        found = s2cmc.open_catalogue(given)
        assert same(found, opened)
        assert found.encoding["source"] == str(given)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://x", "nonsense://x cannot be opened: Protocol not known: nonsense"),
        ("nonsense::file:///x", "nonsense::file:///x cannot be opened: Protocol not known: nonsense"),
        ("http://127.0.0.1:99999/x", "http://127.0.0.1:99999/x cannot be opened: invalid port number"),
        ("az://container/x", "az://container/x cannot be opened: .*Account must be specified"),
    ],
)
def test_a_place_that_cannot_be_is_one_clear_error(url, message, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(s2cmc.StoreError, match=message):
        s2cmc.open_catalogue(url)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(s2cmc.StoreError, match=r'sftp://host/x cannot be opened: .*"paramiko"'):
        s2cmc.open_catalogue("sftp://host/x")


@pytest.mark.parametrize("scheme", ["http", "s3", "gs", "az"])
def test_an_option_that_obstore_does_not_know_is_named(scheme):
    with pytest.raises(s2cmc.StoreError, match=f"{scheme}://bucket/x cannot be opened: .*'nonsense'.*backend='fsspec'"):
        s2cmc.open_catalogue(f"{scheme}://bucket/x", storage_options={"nonsense": 1})


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_an_option_that_fsspec_does_not_know_is_named(scheme):
    with pytest.raises(s2cmc.StoreError, match=f"{scheme}://bucket/x.* cannot be .*'nonsense'"):
        s2cmc.open_catalogue(f"{scheme}://bucket/x", backend="fsspec", storage_options={"nonsense": 1})


def test_an_endpoint_without_a_scheme_is_refused():
    with pytest.raises(s2cmc.ArgumentError, match="endpoint_url is 'localhost:9000'; expected http:// or https://"):
        s2cmc.open_catalogue("s3://bucket/x", endpoint_url="localhost:9000", timeout=2)
