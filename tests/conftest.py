"""Releases and stores for the tests: small, synthetic, written to real files."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.answers import Answer
from helpers.file_server import FileServer, RangeHandler
from helpers.paths import ROOT, SHARED

import s2cmc
from s2cmc.cli import app
from s2cmc.conversion.convert.conversion import convert
from s2cmc.synthetic.make import make_release

pytest_plugins = ["helpers.s3_fixtures", "helpers.tiny_fixtures", "helpers.credentials", "helpers.record_server"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the genuine table and real pixels."""
    if not SHARED.is_dir():
        pytest.skip(f"the genuine table and real pixels are not in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 scenes of 64 x 64 pixels with all quirks, as published: zips of npy. Not to be changed."""
    return make_release(tmp_path_factory.mktemp("release") / "release", scenes=10, size=64, quirks=True)


@pytest.fixture(scope="session")
def store(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `release`. Not to be changed."""
    path = tmp_path_factory.mktemp("store") / "catalogue.zarr"
    convert(str(release), str(path))
    return path


@pytest.fixture(scope="session")
def opened(store: Path) -> xr.Dataset:
    """`store`, opened once."""
    return s2cmc.open_catalogue(store)


@pytest.fixture
def catalogue(opened: xr.Dataset) -> xr.Dataset:
    """`store`, opened; a test may load or change its copy."""
    return opened.copy()


@pytest.fixture(scope="session")
def labels(opened: xr.Dataset) -> xr.DataArray:
    """The masks moved by some pixels, 3 without a label: a prediction with all errors that there can be."""
    moved = np.roll(opened.mask.values, (3, 5), axis=(1, 2))
    moved[0, 0, :3] = 255
    return xr.DataArray(moved, dims=("scene", "y", "x"), coords={"scene": opened.scene.values}, name="labels")


@pytest.fixture(scope="session")
def counts(opened: xr.Dataset, labels: xr.DataArray) -> xr.Dataset:
    """What `labels` are counted as."""
    return opened.clouds.confusion(labels).compute()


@pytest.fixture
def no_compute() -> Iterator[None]:
    """Fail as soon as dask computes anything."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a pixel was read")

    with dask.config.set(scheduler=refuse):
        yield


@pytest.fixture
def no_coalescing() -> Iterator[None]:
    """Read each chunk by itself: in shards as small as here all would be fetched in one range."""
    with zarr.config.set({"array.sharding_coalesce_max_gap_bytes": -1}):
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the command in this process, through its own entry point: ``run("info", store)``."""
    monkeypatch.setenv("COLUMNS", "200")  # for the help, which has its own console

    def command(*arguments: object, width: int = 200) -> Answer:
        monkeypatch.setattr(app.out, "width", width)
        monkeypatch.setattr(app.err, "width", width)
        monkeypatch.setattr(sys, "argv", ["s2cmc", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return Answer(ended.value.code or 0, *capsys.readouterr())

    return command


@pytest.fixture
def serve() -> Iterator[object]:
    """Start web servers over folders: ``serve(folder)`` gives a `FileServer`."""
    servers: list[FileServer] = []

    def start(folder: Path, *handler: type[RangeHandler]) -> FileServer:
        servers.append(FileServer(folder, *handler))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by where they are and by the servers that they use."""
    for item in items:
        if "security" in item.path.relative_to(ROOT / "tests").parts[:1]:
            item.add_marker(pytest.mark.hostile)
        if not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.network)


_SERVERS = {"serve", "serve_record", "gateway", "nginx"}
"""Fixtures that start a server."""
