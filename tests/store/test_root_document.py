"""The root document: it finds its own damage, and a pointer to versions is a Zarr group that anyone opens."""

import json
from shutil import copytree

import pytest
import zarr
from helpers.sealing import reseal
from hypothesis import given
from hypothesis import strategies as st

import s2cmc
from s2cmc.store.format import CHECKSUM_ATTRIBUTE, check_checksum, versions_document, with_checksum

DAMAGED = r"place/zarr\.json is damaged"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SEALED = with_checksum({"zarr_format": 3, "node_type": "group", "attributes": {"title": "Größe", "format": "s2cmc"}})


def check(content):
    check_checksum(content, "place/zarr.json")


@given(st.dictionaries(st.text(max_size=12), JSON_VALUES, max_size=5))
def test_what_is_sealed_is_the_same_document_and_holds(attributes):
    content = with_checksum({"zarr_format": 3, "attributes": dict(attributes)})
    check(content)
    found = json.loads(content)
    assert len(found["attributes"].pop(CHECKSUM_ATTRIBUTE)) == 64
    attributes.pop(CHECKSUM_ATTRIBUTE, None)
    assert found == {"zarr_format": 3, "attributes": attributes}
    assert b"\n" not in content


def test_sealing_again_changes_nothing():
    assert with_checksum(json.loads(SEALED)) == SEALED
    assert with_checksum({"attributes": {"a": 1}}) != with_checksum({"attributes": {"a": 2}})


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(at, bits):
    """Every one of them: those of the name of the checksum too, for a store without it is refused."""
    content = bytearray(SEALED)
    content[at] ^= bits
    with pytest.raises(s2cmc.StoreError, match=DAMAGED):
        check(bytes(content))


@given(st.integers(0, len(SEALED) - 1), st.integers(0, len(SEALED)))
def test_a_lost_or_doubled_part_is_found(start, stop):
    start, stop = sorted((start, stop))
    for content in (SEALED[:start], SEALED[:stop] + SEALED[start:]):
        if content != SEALED:
            with pytest.raises(s2cmc.StoreError, match=DAMAGED):
                check(content)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x00" * 40, b'{"attributes": {', b"\xff{}"])
def test_what_is_no_json_is_damaged(content):
    with pytest.raises(s2cmc.StoreError, match="it is no JSON"):
        check(content)


def test_what_was_edited_by_hand_is_told():
    with pytest.raises(s2cmc.StoreError, match="was edited by hand: its SHA-256 is not what its metadata_sha256 says"):
        check(SEALED.replace(b'"s2cmc"', b'"other"'))
    with pytest.raises(s2cmc.StoreError, match="was edited by hand: it has no metadata_sha256"):
        check(SEALED.replace(b'"metadata_sha256":"', b'"metadata_sha256":"x'))


@pytest.mark.parametrize(
    "content", [b"{}", b'{"attributes":{"format":"other"}}', b'{"attributes":1}', b"[1, 2]", b"null"]
)
def test_a_document_of_anything_else_needs_no_checksum(content):
    check(content)


def test_the_checksum_of_a_store_is_not_shown(store, opened):
    assert CHECKSUM_ATTRIBUTE in json.loads((store / "zarr.json").read_bytes())["attributes"]
    assert CHECKSUM_ATTRIBUTE not in opened.attrs
    assert not [name for name in opened.attrs if "bundle" in name]


@pytest.mark.parametrize("at", [0.01, 0.3, 0.7, 0.99])
def test_a_store_with_a_damaged_root_does_not_open(at, store, tmp_path):
    copy = copytree(store, tmp_path / "copy.zarr")
    root = bytearray((copy / "zarr.json").read_bytes())
    root[int(at * len(root))] ^= 1
    (copy / "zarr.json").write_bytes(root)
    with pytest.raises(s2cmc.StoreError, match=rf"{copy}/zarr\.json is damaged"):
        s2cmc.open_catalogue(copy)


def test_a_store_whose_checksum_was_removed_does_not_open(store, tmp_path):
    copy = copytree(store, tmp_path / "copy.zarr")
    document = json.loads((copy / "zarr.json").read_bytes())
    del document["attributes"][CHECKSUM_ATTRIBUTE]
    (copy / "zarr.json").write_text(json.dumps(document, indent=2))
    with pytest.raises(
        s2cmc.StoreError, match=r"zarr\.json is damaged, or was edited by hand: it has no metadata_sha256"
    ):
        s2cmc.open_catalogue(copy)


def test_a_store_that_was_edited_and_sealed_again_opens(store, tmp_path):
    copy = copytree(store, tmp_path / "copy.zarr")
    reseal(copy, lambda document: document["attributes"].update(title="mine"))
    assert s2cmc.open_catalogue(copy).attrs["title"] == "mine"


def test_a_pointer_is_a_group_that_zarr_opens(tmp_path):
    (tmp_path / "zarr.json").write_bytes(versions_document("v2", ["v1", "v2"]))
    check((tmp_path / "zarr.json").read_bytes())
    group = zarr.open_group(tmp_path, mode="r")
    assert group.attrs["format"] == "s2cmc-versions"
    assert (group.attrs["latest"], group.attrs["versions"]) == ("v2", ["v1", "v2"])
    assert "`latest`" in group.attrs["comment"]
    assert list(zarr.open_consolidated(tmp_path).members()) == []


def test_a_pointer_leads_to_its_latest_version(store, tmp_path, opened):
    copytree(store, tmp_path / "v1")
    copytree(store, tmp_path / "v2")
    reseal(tmp_path / "v2", lambda document: document["attributes"].update(title="second"))
    for latest, title in (("v1", opened.attrs["title"]), ("v2", "second")):
        (tmp_path / "zarr.json").write_bytes(versions_document(latest, ["v1", "v2"]))
        found = s2cmc.open_catalogue(tmp_path)
        assert found.attrs["title"] == title
        assert found.encoding["source"] == f"{tmp_path}/{latest}"


def test_a_pointer_to_nowhere_names_the_version(tmp_path):
    (tmp_path / "zarr.json").write_bytes(versions_document("v3", ["v3"]))
    with pytest.raises(s2cmc.StoreError, match=rf"{tmp_path}/v3 holds no catalogue"):
        s2cmc.open_catalogue(tmp_path)


def test_a_damaged_pointer_is_told(tmp_path):
    (tmp_path / "zarr.json").write_bytes(versions_document("v1", ["v1"]).replace(b'"latest":"v1"', b'"latest":"v2"'))
    with pytest.raises(s2cmc.StoreError, match=rf"{tmp_path}/zarr\.json is damaged"):
        s2cmc.open_catalogue(tmp_path)


def test_versions_in_a_store_of_zarr_are_not_entered(tmp_path):
    (tmp_path / "zarr.json").write_bytes(versions_document("v1", ["v1"]))
    with pytest.raises(s2cmc.StoreError, match="holds several versions; open the folder of one, v1 for the latest"):
        s2cmc.open_catalogue(zarr.storage.LocalStore(tmp_path, read_only=True))
