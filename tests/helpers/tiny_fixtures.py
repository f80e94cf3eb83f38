"""Releases and stores that are made in a moment. None is to be changed."""

import shutil
from pathlib import Path

import pytest

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.synthetic.make import make_release


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of 3 scenes of 16 x 16 pixels."""
    return make_release(tmp_path_factory.mktemp("tiny") / "release", scenes=3, size=16)


@pytest.fixture(scope="session")
def tiny_store(tiny: Path) -> Path:
    """The store of `tiny`, beside it."""
    convert(str(tiny), str(tiny.parent / "store.zarr"))
    return tiny.parent / "store.zarr"


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release and store of 4 scenes of 16 x 16 pixels, and the store of the first 2."""
    folder = tmp_path_factory.mktemp("four")
    make_release(folder / "release", scenes=4, size=16)
    convert(str(folder / "release"), str(folder / "store"))
    scenes = s2cmc.open_catalogue(folder / "store").scene.values[:2].tolist()
    convert(str(folder / "release"), str(folder / "two"), scenes=scenes)
    return folder


@pytest.fixture
def copy(four: Path, tmp_path: Path) -> Path:
    """A copy of the store to spoil."""
    return Path(shutil.copytree(four / "store", tmp_path / "copy.zarr"))


@pytest.fixture(scope="session")
def odd_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 scenes of 63 x 63 pixels in chunks of 32 x 32, which reach beyond the edge as those of large scenes do."""
    folder = tmp_path_factory.mktemp("odd")
    convert(str(make_release(folder / "release", scenes=11, size=63)), str(folder / "catalogue.zarr"))
    return folder / "catalogue.zarr"
