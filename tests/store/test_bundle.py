"""The coordinates of a store in one object: the very same bytes as beside it, or it is refused."""

import io
import json
import shutil
import zipfile

import pytest
import xarray as xr
import zarr
from helpers.sealing import reseal
from hypothesis import given
from hypothesis import strategies as st

import s2cmc
from s2cmc.errors import DamagedError
from s2cmc.schema.catalogue import FIXED_COORDINATES, PIXEL_VARIABLES, SCENE_COORDINATES
from s2cmc.store.format import (
    BUNDLE,
    BUNDLE_ATTRIBUTE,
    BUNDLE_CHECKSUM_ATTRIBUTE,
    DIGESTS,
    DIGESTS_CHECKSUM_ATTRIBUTE,
    bundle_attributes,
    pack_bundle,
    unpack_bundle,
    with_checksum,
)

pytestmark = pytest.mark.slow

KEYS = st.text("abcdefgh/_.", min_size=1, max_size=12).filter(lambda key: not key.endswith("/"))
OBJECTS = st.dictionaries(KEYS, st.binary(max_size=60), max_size=8)


@given(OBJECTS)
def test_what_is_packed_is_unpacked_and_the_same_objects_give_the_same_bytes(objects):
    content = pack_bundle(objects)
    assert unpack_bundle(content, bundle_attributes(content), "place/bundle") == objects
    assert pack_bundle(dict(objects)) == content


@given(OBJECTS.filter(bool), st.data())
def test_any_changed_byte_is_found(objects, data):
    content = pack_bundle(objects)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), content[:-1], content + b"\0", b""):
        with pytest.raises(s2cmc.StoreError, match="place/bundle is damaged, or of another store"):
            unpack_bundle(damaged, bundle_attributes(content), "place/bundle")


def test_a_bundle_without_a_checksum_is_refused():
    with pytest.raises(s2cmc.StoreError, match=r"its SHA-256 is not the one of zarr\.json"):
        unpack_bundle(pack_bundle({"a": b"b"}), {BUNDLE_ATTRIBUTE: BUNDLE}, "place/bundle")


def test_it_is_a_plain_zip_without_compression_or_dates():
    content = pack_bundle({"a/c/0": b"a" * 1000, "b/c/0": b"b"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            assert member.date_time == (1980, 1, 1, 0, 0, 0)


def test_the_bundle_of_a_store_holds_exactly_its_coordinates_byte_for_byte(store, opened):
    beside = {
        str(file.relative_to(store)): file.read_bytes()
        for file in store.rglob("c/**/*")
        if file.is_file() and file.relative_to(store).parts[0] not in PIXEL_VARIABLES
    }
    attributes = json.loads((store / "zarr.json").read_bytes())["attributes"]
    assert attributes[BUNDLE_ATTRIBUTE] == BUNDLE
    assert unpack_bundle((store / BUNDLE).read_bytes(), attributes, "bundle") == beside
    assert {key.split("/")[0] for key in beside} == set(opened.coords)


def test_a_store_opens_from_its_bundle_alone(store, tmp_path, opened):
    """What lies beside is for readers that do not know of it."""
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    for name in opened.coords:
        shutil.rmtree(copy / name)
    xr.testing.assert_identical(s2cmc.open_catalogue(copy).mask.load(), opened.mask.compute())


@pytest.mark.parametrize(("pin", "name"), [(BUNDLE_CHECKSUM_ATTRIBUTE, BUNDLE), (DIGESTS_CHECKSUM_ATTRIBUTE, DIGESTS)])
def test_a_root_that_pins_no_bundle_or_no_digests_is_refused(store, tmp_path, pin, name):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    document = json.loads((copy / "zarr.json").read_bytes())
    del document["attributes"][pin]
    (copy / "zarr.json").write_bytes(with_checksum(document))
    message = rf"copy\.zarr cannot be proved: its zarr\.json has no {pin} for {name}; .*s2cmc repair"
    with pytest.raises(DamagedError, match=message):
        s2cmc.open_catalogue(copy)


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_one_request_brings_all_coordinates(backend, store, serve):
    server = serve(store.parent)
    s2cmc.open_catalogue(f"{server.url}/{store.name}", backend=backend)
    assert [path for _, path, _ in server.log] == [f"/{store.name}/zarr.json", f"/{store.name}/{BUNDLE}"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda bundle: bundle.unlink(), "missing"),
        (lambda bundle: bundle.write_bytes(pack_bundle({"a": b"x"})), "damaged, or of"),
    ],
    ids=["missing", "of another store"],
)
def test_without_its_bundle_a_store_opens_from_the_coordinates_beside_it(store, opened, tmp_path, caplog, spoil, said):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    spoil(copy / BUNDLE)
    assert s2cmc.open_catalogue(copy).coords.to_dataset().identical(opened.coords.to_dataset())
    assert f"{copy}/{BUNDLE} is {said}" in caplog.text
    assert "s2cmc repair" in caplog.text


def test_coordinates_of_another_store_are_never_shown(store, opened, tmp_path):
    """Neither the bundle nor what lies beside it is what the root has sealed."""
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / BUNDLE).unlink()
    shutil.copy(copy / "cirrus" / "c" / "0", copy / "urban_developed" / "c" / "0")
    assert (opened.cirrus != opened.urban_developed).any()
    with pytest.raises(
        s2cmc.StoreError, match=rf"{copy}/{BUNDLE} is missing; nor are the coordinates beside it whole: "
    ):
        s2cmc.open_catalogue(copy)


def test_the_schema_knows_the_order_of_the_bundle(store):
    """By which what lies beside it is proved."""
    with zipfile.ZipFile(store / BUNDLE) as archive:
        names = [key.removesuffix("/c/0") for key in archive.namelist()]
    assert names == [*(c.name for c in SCENE_COORDINATES), *FIXED_COORDINATES]


def test_coordinates_in_a_bundle_are_checked_like_all_others(store, tmp_path):
    """Sealed again around a damaged object, which its own checksum finds."""
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    chunk = copy / "difficulty" / "c" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    reseal(copy)
    with pytest.raises(s2cmc.StoreError, match=rf"{copy}/difficulty/c/0 is damaged"):
        s2cmc.open_catalogue(copy)


def test_other_readers_take_what_lies_beside(store, tmp_path, opened):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / BUNDLE).unlink()
    group = zarr.open_group(copy, mode="r")
    assert group["difficulty"][:].tolist() == opened.difficulty.values.tolist()
    assert xr.open_zarr(copy).difficulty.equals(opened.difficulty)
