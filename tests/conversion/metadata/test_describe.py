"""Metadata beside a store: complete, movable, always the same, and nobody else's files are touched."""

import json
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr
import zarr

import s2cmc
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.metadata.documents import describe
from s2cmc.conversion.publish import publish
from s2cmc.conversion.verify.verification import verify
from s2cmc.errors import ArgumentError, StoreError

pytestmark = [
    pytest.mark.slow,
    # PySTAC says so of its own module, which reading any Item loads.
    pytest.mark.filterwarnings("ignore:The PySTAC Label Extension is deprecated"),
]

FILES = {"collection.json", "footprints.parquet", "croissant.json"}


@pytest.fixture
def own(store: Path, tmp_path: Path) -> Path:
    """A copy of `store` in a folder of its own, for what is written beside it."""
    return shutil.copytree(store, tmp_path / "data" / "catalogue.zarr")


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _mask(item: pystac.Item) -> xr.DataArray:
    """The mask of the scene of an Item, read from where the Item says."""
    return xr.open_zarr(item.assets["mask"].get_absolute_href())["mask"].sel(scene=item.id)


def test_metadata_are_written_beside_the_store(own: Path, opened: xr.Dataset) -> None:
    found = describe(str(own))
    assert found.url == str(own.with_name("catalogue-metadata"))
    written = _contents(own.with_name("catalogue-metadata"))
    assert set(written) == FILES | {f"items/{scene}.json" for scene in opened["scene"].values}
    assert set(found.paths) == FILES
    assert (found.items, found.unplaced) == (opened.sizes["scene"], 0)
    assert found.nbytes == sum(map(len, written.values()))


def test_a_store_without_the_usual_suffix_has_its_metadata_beside_it_too(own: Path) -> None:
    plain = own.rename(own.with_name("catalogue"))
    assert describe(f"{plain}/").url == str(own.with_name("catalogue-metadata"))


def test_the_store_is_not_touched(own: Path) -> None:
    before = _contents(own)
    describe(str(own))
    assert _contents(own) == before
    assert verify(str(own)) == []


def test_no_pixel_is_read(own: Path) -> None:
    for name in ("reflectance", "mask", "alt_mask", "thumbnail"):
        shutil.rmtree(own / name / "c")
    assert describe(str(own)).items == 10


def test_the_same_store_gives_the_same_bytes(own: Path) -> None:
    out = own.with_name("catalogue-metadata")
    describe(str(own))
    first = _contents(out)
    describe(str(own))
    assert _contents(out) == first
    describe(str(own), str(own.with_name("elsewhere")))
    assert _contents(own.with_name("elsewhere")) == first


def test_what_is_there_is_replaced_and_files_of_others_stay(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "items").mkdir(parents=True)
    (out / "items" / "mine.json").write_text("{}")
    (out / "collection.json").write_text("old")
    describe(str(own), str(out))
    assert (out / "items" / "mine.json").read_text() == "{}"
    assert json.loads((out / "collection.json").read_text())["type"] == "Collection"


def test_store_and_metadata_move_together(own: Path, opened: xr.Dataset, tmp_path: Path) -> None:
    describe(str(own))
    (tmp_path / "somewhere").mkdir()
    moved = own.parent.rename(tmp_path / "somewhere" / "else")
    items = pystac.Collection.from_file(str(moved / "catalogue-metadata" / "collection.json")).get_items()
    for item in islice(items, 3):
        found = _mask(item)
        np.testing.assert_array_equal(found.where(found < 240, 255), opened.sel(scene=item.id).mask)


def test_metadata_elsewhere_point_at_the_store(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "far" / "away"
    describe(str(own), str(out))
    item = next(pystac.Collection.from_file(str(out / "collection.json")).get_items())
    assert Path(item.assets["mask"].get_absolute_href()).resolve() == own.resolve()
    assert not item.assets["mask"].href.startswith("/")


def test_a_public_url_is_taken_as_it_is(own: Path, tmp_path: Path) -> None:
    describe(str(own), str(tmp_path / "out"), store_url="https://example.org/catalogue.zarr/")
    documents = {path.name: path.read_text() for path in (tmp_path / "out").rglob("*.json")}
    assert all('"https://example.org/catalogue.zarr' in text for text in documents.values())
    assert not any(str(tmp_path) in text or "../catalogue.zarr" in text for text in documents.values())
    croissant = json.loads(documents["croissant.json"])
    assert croissant["distribution"][1]["contentUrl"] == "https://example.org/catalogue.zarr/zarr.json"


def test_of_a_published_place_the_metadata_name_the_version(store: Path, tmp_path: Path) -> None:
    version = publish(str(store), str(tmp_path / "place")).version
    found = describe(str(tmp_path / "place"), store_url="https://example.org/s2cmc")
    assert found.url == str(tmp_path / "place-metadata")
    text = (tmp_path / "place-metadata" / "collection.json").read_text()
    assert f'"https://example.org/s2cmc/{version}"' in text
    describe(str(tmp_path / "place"))
    collection = pystac.Collection.from_file(str(tmp_path / "place-metadata" / "collection.json"))
    assert _mask(next(collection.get_items())).sizes == {"y": 64, "x": 64}


def test_no_file_says_where_it_was_made(own: Path) -> None:
    describe(str(own))
    for name, content in _contents(own.with_name("catalogue-metadata")).items():
        assert str(own.parent).encode() not in content, name


def test_every_file_says_that_the_data_are_synthetic(own: Path) -> None:
    describe(str(own))
    for name, content in _contents(own.with_name("catalogue-metadata")).items():
        assert b"ynthetic" in content, name
        assert b"4172871" not in content, name


def test_scenes_of_unknown_place_are_counted(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_place(*args: object) -> xr.Dataset:
        found = s2cmc.open_catalogue(own)
        return found.assign_coords(x_origin=found["x_origin"].where(np.arange(10) > 2))

    monkeypatch.setattr("s2cmc.conversion.metadata.documents.open_catalogue", without_place)
    assert describe(str(own)).unplaced == 3


@pytest.mark.parametrize("inside", [".", "metadata", "mask/metadata"])
def test_metadata_do_not_belong_in_a_store(own: Path, inside: str) -> None:
    before = _contents(own)
    with pytest.raises(StoreError, match=r"(lies in the|is a) store.* choose another place"):
        describe(str(own), str(own / inside))
    assert _contents(own) == before


def test_nor_in_another_store(own: Path, store: Path) -> None:
    other = shutil.copytree(store, own.with_name("other.zarr"))
    with pytest.raises(StoreError, match=r"other\.zarr is a store, where other files do not belong"):
        describe(str(own), str(other))
    with pytest.raises(StoreError, match=r"lies in the store .*other\.zarr, where other files do not belong"):
        describe(str(own), other / "mask" / "metadata")
    assert _contents(other) == _contents(store)


def test_nor_in_a_store_in_a_bucket(new_bucket, own: Path) -> None:
    bucket = new_bucket()
    url = bucket.upload(own, "data/catalogue.zarr")
    for out, said in ((url, "is a store"), (f"{url}/a/metadata/", f"lies in the store {url},")):
        with pytest.raises(StoreError, match=said):
            describe(url, out, access=bucket.access)
    assert set(bucket.contents("data/catalogue.zarr/")) == set(_contents(own))


def test_items_of_scenes_that_are_gone_are_removed(own: Path, store: Path, opened: xr.Dataset, tmp_path: Path) -> None:
    out, names = tmp_path / "out", [str(name) for name in opened["scene"].values]
    describe(str(own), out)
    (out / "items" / "mine.json").write_text("{}")
    (out / "outside.json").write_text("{}")
    linked = json.loads((out / "collection.json").read_text())
    linked["links"] += [{"rel": "item", "href": href} for href in ("./items/../outside.json", "./outside.json")]
    (out / "collection.json").write_text(json.dumps(linked))
    export(str(store), tmp_path / "small.zarr", format="zarr", scenes=names[:3])
    describe(str(tmp_path / "small.zarr"), out)
    assert {path.name for path in (out / "items").iterdir()} == {"mine.json", *(f"{name}.json" for name in names[:3])}
    assert (out / "outside.json").exists()


def test_items_of_another_collection_stay(own: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "items").mkdir(parents=True)
    (tmp_path / "out" / "items" / "theirs.json").write_text("{}")
    links = [{"rel": "item", "href": "./items/theirs.json"}]
    (tmp_path / "out" / "collection.json").write_text(json.dumps({"links": links}))
    describe(str(own), tmp_path / "out")
    assert (tmp_path / "out" / "items" / "theirs.json").exists()


def test_a_part_does_not_pose_as_the_whole(store: Path, opened: xr.Dataset, tmp_path: Path) -> None:
    names = [str(name) for name in opened["scene"].values]
    told = []
    for count in (2, 3):
        small = tmp_path / f"{count}.zarr"
        export(str(store), small, format="zarr", scenes=names[:count])
        describe(str(small), tmp_path / f"{count}")
        digest = zarr.open_group(small, mode="r").attrs["metadata_sha256"][:8]
        collection, croissant = (
            json.loads((tmp_path / f"{count}" / name).read_text()) for name in ("collection.json", "croissant.json")
        )
        assert collection["id"] == f"synthetic-sentinel-2-cloud-mask-catalogue-subset-{digest}"
        assert collection["title"] == croissant["name"] == f"{opened.attrs['title']}, subset-{digest}"
        for document in (collection, croissant):
            assert document["description"].startswith(opened.attrs["summary"])
            assert f"{count} of 10 scenes of the store whose metadata_sha256 is" in document["description"]
        item = json.loads((tmp_path / f"{count}" / "items" / f"{names[0]}.json").read_text())
        assert item["collection"] == collection["id"]
        told.append(collection["id"])
    assert len(set(told)) == 2


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_is_no_place_for_metadata(own: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=f"{tmp_path}/{out} cannot be written: {tmp_path}/file is a file"):
        describe(str(own), str(tmp_path / out))


def test_a_folder_that_cannot_be_made_is_named(own: Path) -> None:
    with pytest.raises(StoreError, match="/proc/metadata cannot be written: "):
        describe(str(own), "/proc/metadata")


def test_a_place_needs_a_name(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "data")
    for out in ("", " ", "file://"):
        with pytest.raises(ArgumentError, match=f"'{out}' names no place; give a folder"):
            describe(str(own), out)
    with pytest.raises(ArgumentError, match="store_url '' names no place"):
        describe(str(own), store_url="")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["catalogue.zarr"]


def test_what_cannot_be_written_to_is_named(own: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"cannot write to https://example\.org/out: expected a local path, or s3://"
    ):
        describe(str(own), "https://example.org/out", store_url="https://example.org/catalogue.zarr")


def test_metadata_in_a_bucket_cannot_point_at_this_machine(own: Path) -> None:
    with pytest.raises(StoreError, match=r"s3://bucket/out cannot point at .* say its public store_url"):
        describe(str(own), "s3://bucket/out")


def test_a_store_in_a_bucket_has_its_metadata_in_the_bucket(new_bucket, own: Path) -> None:
    bucket = new_bucket()
    found = describe(bucket.upload(own, "data/catalogue.zarr"), access=bucket.access)
    assert found.url == f"{bucket.url}/data/catalogue-metadata"
    describe(str(own))
    for key, content in _contents(own.with_name("catalogue-metadata")).items():
        assert bucket.get(f"data/catalogue-metadata/{key}") == content  # the same paths, the same bytes
