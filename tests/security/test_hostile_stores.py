"""A store made by strangers: what is written from it stays where it was asked for, and nothing of it is run."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
import zarr
from helpers.pickles import Mark, packed
from helpers.sealing import reseal

import s2cmc
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.metadata.documents import describe
from s2cmc.errors import PredictionError, StoreError

pytestmark = pytest.mark.slow

NAMES = {
    "upwards": "../../../escaped",
    "absolute": "/escaped",
    "folder": "a/escaped",
    "NUL": "S2A\0escaped",
    "long": "S" * 1_000,
    "empty": "",
    "newline": "S2A_MSIL1C_20180101T010721_N0206_R045_T53HLD_20180101T041600\n",
}


def with_scene(store: Path, copy: Path, name: str) -> Path:
    """The store with another name for its third scene, every checksum made to fit."""
    shutil.copytree(store, copy)
    zarr.open_array(copy / "scene", mode="r+")[2] = name
    reseal(copy)
    return copy


WRITERS: dict[str, Callable[[str, Path], object]] = {
    "restore as folders": lambda store, out: restore(store, str(out), layout="folder"),
    "restore as zips": lambda store, out: restore(store, str(out)),
    **{
        f"export {form}": lambda store, out, form=form: export(store, out, format=form)
        for form in ("npy", "npz", "png", "cog", "zarr")
    },
    "metadata": describe,
}


@pytest.mark.parametrize(("write", "name"), [*((w, "upwards") for w in WRITERS), *(("metadata", n) for n in NAMES)])
def test_no_file_is_named_by_what_is_no_product(store: Path, tmp_path: Path, write: str, name: str) -> None:
    hostile = with_scene(store, tmp_path / "deep" / "store.zarr", NAMES[name])
    before = set(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=r"store\.zarr is no catalogue of s2cmc: its scene '.*' is no Sentinel-2"):
        WRITERS[write](str(hostile), tmp_path / "deep" / "out")
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "deep" / "out"}
    assert not Path("/escaped").exists()


def test_a_scene_that_stands_there_twice_would_replace_its_own_files(store: Path, tmp_path: Path) -> None:
    first = str(s2cmc.open_catalogue(store).scene.values[0])
    copy = with_scene(store, tmp_path / "store.zarr", first)
    with pytest.raises(StoreError, match=rf"its scene {first} stands there twice"):
        restore(str(copy), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_no_array_lies_outside_of_its_store(store: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(store, tmp_path / "store.zarr")
    shutil.copytree(store / "mask", tmp_path / "outside")

    def add(document: dict) -> None:
        arrays = document["consolidated_metadata"]["metadata"]
        arrays[name] = arrays["mask"]

    reseal(copy, add)
    with pytest.raises(StoreError, match=r"store\.zarr.*outside"):
        s2cmc.open_catalogue(copy)


def pickled_predictions(folder: Path, scenes: list[str], mark: Path) -> Path:
    """A Zarr store of version 2, whose scenes are told by a pickle."""
    arrays = {
        "scene": ([len(scenes)], "|O", [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}], ["scene"]),
        "labels": ([len(scenes), 64, 64], "|u1", None, ["scene", "y", "x"]),
    }
    for name, (shape, dtype, filters, dims) in arrays.items():
        (folder / name).mkdir(parents=True)
        document = {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": dtype, "filters": filters}
        document |= {"compressor": None, "fill_value": None, "order": "C"}
        (folder / name / ".zarray").write_text(json.dumps(document))
        (folder / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "scene" / "0").write_bytes(packed(Mark(mark)))
    return folder


def test_predictions_in_a_zarr_store_are_not_unpickled(opened: xr.Dataset, tmp_path: Path) -> None:
    scenes = [str(scene) for scene in opened.scene.values]
    path = pickled_predictions(tmp_path / "p.zarr", scenes, tmp_path / "mark")
    with pytest.raises(PredictionError, match=r"p\.zarr cannot be read: .*pickle"):
        opened.clouds.confusion(path)
    assert not (tmp_path / "mark").exists()
    pickle.loads((path / "scene" / "0").read_bytes())  # noqa: S301
    assert (tmp_path / "mark").exists()  # the trap works
