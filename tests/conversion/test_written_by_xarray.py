"""A copy that xarray wrote of a catalogue is no damaged store: it is named, and nothing repairs or replaces it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
import zarr
from helpers.accidents import objects
from helpers.answers import Answer

import s2cmc
from s2cmc.conversion import convert, export, publish, repair, verify

pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part"),
    pytest.mark.filterwarnings("ignore:.* does not have a Zarr V3 specification"),
    pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated metadata"),
    pytest.mark.filterwarnings("ignore:saving variable None with floating point data"),
]

NAMED = (
    r"was written from a catalogue by xarray, .*open it with xr\.open_zarr, or .*`s2cmc export STORE OUT --format zarr`"
)
NEVER = f"{NAMED}; it is never replaced: choose another place"


def _append(part: xr.Dataset, out: Path) -> None:
    part.isel(scene=[0]).to_zarr(out)
    part.isel(scene=[1]).to_zarr(out, append_dim="scene")


def _from_plain_xarray(part: xr.Dataset, out: Path) -> None:
    """All attributes of the store are copied, its checksums too."""
    plain = xr.open_zarr(part.encoding["source"])
    plain.isel(scene=[0, 1]).to_zarr(out, safe_chunks=False)


WRITERS: dict[str, Callable[[xr.Dataset, Path], object]] = {
    "to_zarr": lambda part, out: part.to_zarr(out),
    "not consolidated": lambda part, out: part.to_zarr(out, consolidated=False),
    "Zarr 2": lambda part, out: part.to_zarr(out, zarr_format=2),
    "Zarr 2, not consolidated": lambda part, out: part.to_zarr(out, zarr_format=2, consolidated=False),
    "appended": _append,
    "opened by the engine": lambda part, out: (
        xr.open_dataset(part.encoding["source"], engine="s2cmc").isel(scene=[0, 1]).to_zarr(out)
    ),
    "opened by xr.open_zarr": _from_plain_xarray,
}


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, four: Path, tmp_path: Path) -> Path:
    """Copy that xarray wrote of a smaller store, whose attributes say that s2cmc exported it."""
    export(four / "store", tmp_path / "part.zarr", format="zarr")
    opened = s2cmc.open_catalogue(tmp_path / "part.zarr")
    part = opened.clouds.select("index < 2").assign_attrs(opened.attrs)
    part.encoding["source"] = opened.encoding["source"]
    WRITERS[request.param](part, tmp_path / "sub.zarr")
    return tmp_path / "sub.zarr"


@pytest.mark.slow
def test_it_is_named_and_left_alone(written: Path, four: Path, serve, run: Callable[..., Answer]) -> None:
    before = objects(written)
    assert xr.open_zarr(written).sizes["scene"] == 2
    served = f"{serve(written.parent).url}/{written.name}"
    for place in (written, served):
        with pytest.raises(s2cmc.StoreError, match=NAMED) as error:
            s2cmc.open_catalogue(place)
        assert type(error.value) is s2cmc.StoreError, "neither damaged nor missing"
        assert "repair" not in str(error.value)
    with pytest.raises(s2cmc.StoreError, match=NAMED):
        xr.open_dataset(written, engine="s2cmc")
    with pytest.raises(s2cmc.StoreError, match=NAMED):
        verify(written)
    with pytest.raises(s2cmc.StoreError, match=f"{NAMED}; nothing is changed in it"):
        repair(written, four / "release")
    with pytest.raises(s2cmc.StoreError, match=NEVER):
        convert(four / "release", written, overwrite=True)
    with pytest.raises(s2cmc.StoreError, match=NEVER):
        export(four / "store", written, format="zarr", overwrite=True)
    with pytest.raises(s2cmc.StoreError, match=r"where other files do not belong|holds no export of s2cmc"):
        export(four / "store", written, format="png", overwrite=True)
    with pytest.raises(s2cmc.StoreError, match=f"{NAMED}; choose another place|holds a store itself"):
        publish(four / "store", written)
    for line in (["info", written], ["verify", written], ["convert", four / "release", written, "--overwrite"]):
        assert run(*line).is_one_message(f"{written} was written from a catalogue by xarray")
    assert objects(written) == before


@pytest.mark.slow
def test_a_store_whose_attributes_were_edited_is_damaged_as_before(copy: Path, four: Path) -> None:
    """zarr rewrites the root document too, but the objects that prove the rest are still there."""
    zarr.open_group(copy, mode="r+").attrs["title"] = "edited"
    assert b"\n" in (copy / "zarr.json").read_bytes(), "as xarray has it"
    with pytest.raises(s2cmc.errors.DamagedError, match="is damaged, or was edited by hand: its SHA-256"):
        s2cmc.open_catalogue(copy)
    repair(copy, four / "release")
    assert verify(copy, four / "release") == []


@pytest.mark.parametrize("lost", ["metadata_sha256", "shard_digests", "coordinate_bundle_sha256"])
@pytest.mark.slow
def test_a_store_that_lost_one_proof_is_damaged(copy: Path, lost: str) -> None:
    document = json.loads((copy / "zarr.json").read_bytes())
    del document["attributes"][lost]
    (copy / "zarr.json").write_text(json.dumps(document, separators=(",", ":")))
    with pytest.raises(s2cmc.errors.DamagedError, match="is damaged, or was edited by hand"):
        s2cmc.open_catalogue(copy)


def test_a_damaged_store_that_lost_its_bundle_too_is_repaired(copy: Path, four: Path) -> None:
    root = (copy / "zarr.json").read_bytes()
    (copy / "zarr.json").write_bytes(root.replace(b'"Synthetic', b'"synthetic', 1))
    (copy / "coordinates.zip").unlink()
    with pytest.raises(s2cmc.errors.DamagedError, match="s2cmc repair"):
        s2cmc.open_catalogue(copy)
    repair(copy, four / "release")
    assert verify(copy, four / "release") == []


def test_a_zarr_store_of_another_kind_is_no_copy(tmp_path: Path) -> None:
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(tmp_path / "new")
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(tmp_path / "old", zarr_format=2)
    with pytest.raises(s2cmc.StoreError, match="is a Zarr group, but no catalogue of s2cmc"):
        s2cmc.open_catalogue(tmp_path / "new")
    with pytest.raises(s2cmc.errors.MissingStoreError, match=r"holds no catalogue: there is no zarr\.json"):
        s2cmc.open_catalogue(tmp_path / "old")


@pytest.mark.network
@pytest.mark.slow
def test_in_a_bucket_it_is_named_and_left_alone(new_bucket, four: Path, tmp_path: Path) -> None:
    bucket = new_bucket()
    s2cmc.open_catalogue(four / "store").clouds.select("index < 2").to_zarr(tmp_path / "sub.zarr")
    url = bucket.upload(tmp_path / "sub.zarr", "sub.zarr")
    with pytest.raises(s2cmc.StoreError, match=NAMED):
        s2cmc.open_catalogue(url, bucket.access)
    with pytest.raises(s2cmc.StoreError, match=NEVER):
        convert(four / "release", url, overwrite=True, access=bucket.access)
