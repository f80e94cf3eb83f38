"""A record converts as its files on disk do, however its server behaves; requests and bytes are counted."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.record_server import RecordServer

from s2cmc.conversion import convert
from s2cmc.synthetic import make_release

pytestmark = [pytest.mark.network, pytest.mark.slow]

OF_A_RUN = ("history", "date_created", "metadata_sha256")


def objects(store: Path) -> Mapping[str, object]:
    """Objects of a store by key; the root document without what differs from run to run."""
    found: dict[str, object] = {
        path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()
    }
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"] = {name: value for name, value in root["attributes"].items() if name not in OF_A_RUN}
    return found | {"zarr.json": root}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 synthetic scenes of 128 x 128 pixels, as published, and a README.pdf."""
    folder = make_release(tmp_path_factory.mktemp("published") / "release", scenes=12, size=128, quirks=True)
    (folder / "README.pdf").write_bytes(b"%PDF-1.4 synthetic")
    return folder


@pytest.fixture(scope="module")
def local(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `published`, converted from disk."""
    store = tmp_path_factory.mktemp("local") / "store.zarr"
    convert(published, store)
    return store


HARD = ("--limit", 12, "--window", 3, "--cut", 100_000, "--fail", 0.05)


@pytest.mark.parametrize(
    "options",
    [
        ("--limit", 1000),
        ("--limit", 12, "--window", 3),
        ("--limit", 1000, "--cut", 100_000),
        ("--limit", 1000, "--fail", 0.2),
        ("--limit", 1000, "--no-ranges"),
        HARD,
        (*HARD, "--no-ranges"),
    ],
    ids=["plain", "limit", "cut", "fail", "no ranges", "all", "all, no ranges"],
)
def test_every_object_is_that_of_a_local_conversion(
    options: tuple[Any, ...], published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, *options)
    server.reset()
    report = convert(server.url, tmp_path / "store.zarr")
    assert objects(tmp_path / "store.zarr") == objects(local)
    counted = server.counted()
    assert counted["heads"] == 0
    assert counted["most_in_window"] <= options[options.index("--limit") + 1]
    assert counted["refused"] == 0
    assert report.scenes == 12
