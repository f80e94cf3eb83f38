"""GDAL, which is what GIS programs read stores with, sees in one what `open_catalogue` gives; run by `make gdal`."""

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.views import Seen, check_coordinates, check_labels, check_parts, dn, read_by

import s2cmc

SCRIPT = Path(__file__).with_name("readers") / "gdal_read.py"
FIRST = 3_13_00_00
"""GDAL 3.13 is the first that reads shards."""

pytestmark = pytest.mark.gdal


@pytest.fixture(scope="session")
def command() -> list[str]:
    """A Python with GDAL: what S2CMC_GDAL_PYTHON says, or that of the system."""
    python = shlex.split(os.environ.get("S2CMC_GDAL_PYTHON", "/usr/bin/python3"))
    try:
        done = subprocess.run([*python, SCRIPT], check=True, capture_output=True, text=True, timeout=60)
    except (subprocess.SubprocessError, OSError):
        pytest.skip(f"{' '.join(python)} has no GDAL; see `make gdal`")
    if int(done.stdout) < FIRST:
        pytest.skip(f"{' '.join(python)} has GDAL {done.stdout.strip()}; shards need {FIRST}")
    return [*python, str(SCRIPT)]


@pytest.fixture(scope="session")
def seen(command: list[str], store: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """`store`, read from its folder."""
    return read_by(command, str(store), tmp_path_factory.mktemp("numbers"))


def test_it_finds_every_array_with_its_dimensions_and_attributes(seen, catalogue):
    assert catalogue.attrs.items() <= seen.attrs.items()
    assert seen.names == {*catalogue.data_vars, *catalogue.coords}
    for name in seen.names:
        array = seen.arrays[name]
        assert (tuple(array["dims"]), tuple(array["shape"])) == (catalogue[name].dims, catalogue[name].shape)
        assert catalogue[name].attrs.items() <= array["attrs"].items()
    assert seen.arrays["mask"]["attrs"]["flag_meanings"] == "clear cloud cloud_shadow"


def test_it_sees_the_same_reflectance(seen, catalogue):
    np.testing.assert_array_equal(seen.values("reflectance", "<u2"), dn(catalogue.reflectance))


def test_it_scales_by_itself(seen, catalogue):
    assert seen.arrays["reflectance"]["attrs"]["scale_factor"] == 1e-4
    window = catalogue.reflectance[4, 20:40, 30:35, 1:4]
    np.testing.assert_allclose(seen.values("part-scaled", "<f8"), window, rtol=1e-7)


def test_it_sees_the_same_band_and_window_where_it_reads_a_part(seen, catalogue):
    check_parts(seen, catalogue)


def test_it_sees_the_same_pixels_in_chunks_that_reach_beyond_the_edge(command, odd_store, tmp_path):
    seen, catalogue = read_by(command, str(odd_store), tmp_path), s2cmc.open_catalogue(odd_store)
    np.testing.assert_array_equal(seen.values("reflectance", "<u2"), dn(catalogue.reflectance))
    check_parts(seen, catalogue)


@pytest.mark.parametrize("name", ["mask", "alt_mask"])
def test_it_sees_the_same_labels(name, seen, catalogue):
    check_labels(seen, catalogue, name)


def test_it_sees_the_same_thumbnails(seen, catalogue):
    np.testing.assert_array_equal(seen.values("thumbnail", "u1"), catalogue.thumbnail)


def test_it_sees_the_same_coordinates(seen, catalogue):
    check_coordinates(seen, catalogue, boolean="uint8")


def test_it_sees_the_same_over_http(command, seen, store, serve, tmp_path):
    remote = read_by(command, f"{serve(store.parent).url}/{store.name}", tmp_path)
    assert (remote.attrs, remote.arrays) == (seen.attrs, seen.arrays)
    for path in seen.numbers.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
