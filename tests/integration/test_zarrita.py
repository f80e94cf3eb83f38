"""zarrita, which is what web pages read stores with, sees in one what `open_catalogue` gives."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.requirements import without
from helpers.views import Seen, check_coordinates, check_labels, check_parts, dn, read_by

import s2cmc

SCRIPTS = Path(__file__).with_name("readers")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`zarrita.mjs` beside what it imports, as package-lock.json pins it."""
    if not (shutil.which("node") and shutil.which("npm")):
        without("node and npm are not on PATH")
    folder = shutil.copytree(SCRIPTS, tmp_path_factory.mktemp("zarrita") / "readers")
    quickly = ("--fetch-retries=1", "--fetch-timeout=20000", "--no-audit", "--no-fund", "--ignore-scripts")
    try:
        subprocess.run(["npm", "ci", *quickly], cwd=folder, check=True, capture_output=True, timeout=120)
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or b"").decode()
        without(f"npm brings no zarrita: {error} {said}")
    return folder / "zarrita.mjs"


@pytest.fixture(scope="session")
def read(script: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seen]:
    """Read the store at a path or URL."""

    def run(place: str) -> Seen:
        return read_by(["node", script], place, tmp_path_factory.mktemp("numbers"))

    return run


@pytest.fixture(scope="session")
def seen(read: Callable[[str], Seen], store: Path) -> Seen:
    """`store`, read from its folder."""
    return read(str(store))


def test_it_finds_every_array_with_its_dimensions_and_attributes(seen, catalogue):
    assert catalogue.attrs.items() <= seen.attrs.items()
    assert seen.names == {*catalogue.data_vars, *catalogue.coords}
    for name in seen.names:
        array = seen.arrays[name]
        assert (tuple(array["dims"]), tuple(array["shape"])) == (catalogue[name].dims, catalogue[name].shape)
        assert catalogue[name].attrs.items() <= array["attrs"].items()
    assert seen.arrays["reflectance"]["attrs"]["scale_factor"] == 1e-4
    assert seen.arrays["mask"]["attrs"]["flag_meanings"] == "clear cloud cloud_shadow"


def test_it_sees_the_same_pixels_in_chunks_that_reach_beyond_the_edge(read, odd_store):
    seen, catalogue = read(str(odd_store)), s2cmc.open_catalogue(odd_store)
    np.testing.assert_array_equal(seen.values("reflectance", "<u2"), dn(catalogue.reflectance))
    check_parts(seen, catalogue)


def test_it_sees_the_same_reflectance(seen, catalogue):
    np.testing.assert_array_equal(seen.values("reflectance", "<u2"), dn(catalogue.reflectance))


def test_it_sees_the_same_band_and_window_where_it_reads_a_part(seen, catalogue):
    check_parts(seen, catalogue)


@pytest.mark.parametrize("name", ["mask", "alt_mask"])
def test_it_sees_the_same_labels(name, seen, catalogue):
    check_labels(seen, catalogue, name)


def test_it_sees_the_same_thumbnails(seen, catalogue):
    np.testing.assert_array_equal(seen.values("thumbnail", "u1"), catalogue.thumbnail)


def test_it_sees_the_same_coordinates(seen, catalogue):
    check_coordinates(seen, catalogue)


def test_it_sees_the_same_over_http_and_asks_little(seen, read, store, serve, catalogue):
    server = serve(store.parent)
    remote = read(f"{server.url}/{store.name}")
    assert (remote.attrs, remote.arrays) == (seen.attrs, seen.arrays)
    files = [path.name for path in seen.numbers.iterdir()]
    assert len(files) > 50
    for name in files:
        assert (remote.numbers / name).read_bytes() == (seen.numbers / name).read_bytes(), name
    assert [path for _, path, _ in server.log if "/c/" not in path] == [f"/{store.name}/zarr.json"]
    assert len(server.log) < 2 * len(files) + 2 * len(catalogue.scene)
