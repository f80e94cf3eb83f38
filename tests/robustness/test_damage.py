"""A byte that is not what was written, wherever it is stored: always found, and never a wrong value."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import s2cmc
from s2cmc.conversion.verify.verification import verify
from s2cmc.store.format import check_checksum

pytestmark = pytest.mark.slow

SHARDS = pytest.mark.parametrize(
    ("key", "read"),
    [
        ("reflectance/c/3/0/0/0", lambda ds: ds.reflectance[3]),
        ("mask/c/0/0/0", lambda ds: ds.mask),
        ("thumbnail/c/0/0/0/0", lambda ds: ds.thumbnail),
    ],
    ids=["reflectance", "mask", "thumbnail"],
)

anywhere = st.floats(0, 1, exclude_max=True)
any_change = st.integers(1, 255)
often = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def copy(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the store; each test mends what it damages."""
    return shutil.copytree(store, tmp_path_factory.mktemp("damage") / "copy.zarr")


@pytest.fixture(scope="module")
def pixels(copy: Path) -> xr.Dataset:
    """The copy, opened while it is whole."""
    return s2cmc.open_catalogue(copy)


@contextmanager
def damaged(path: Path, where: float, change: int) -> Iterator[None]:
    """One byte changed, at a part of the length of a file."""
    content = path.read_bytes()
    position = int(where * len(content))
    path.write_bytes(content[:position] + bytes([content[position] ^ change]) + content[position + 1 :])
    try:
        yield
    finally:
        path.write_bytes(content)


@contextmanager
def cut(path: Path, length: float) -> Iterator[None]:
    """Only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(length * len(content))])
    try:
        yield
    finally:
        path.write_bytes(content)


@given(where=anywhere, change=any_change)
@often
def test_metadata_with_another_byte_do_not_open(copy, where, change):
    with damaged(copy / "zarr.json", where, change), pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/zarr\.json is"):
        s2cmc.open_catalogue(copy)


@given(length=anywhere)
@often
def test_metadata_cut_short_do_not_open(copy, length):
    with cut(copy / "zarr.json", length), pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/zarr\.json is damaged"):
        s2cmc.open_catalogue(copy)


def test_the_seal_itself_does_not_break_unseen(copy):
    """Its name, its value, and what is around them, bit by bit."""
    content = (copy / "zarr.json").read_bytes()
    check_checksum(content, "zarr.json")
    start = content.index(b'"metadata_sha256"') - 5
    for position in range(start, start + 100):
        for bit in range(8):
            other = content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]
            with pytest.raises(s2cmc.StoreError, match=r"^zarr\.json is damaged"):
                check_checksum(other, "zarr.json")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b'{"attributes":null}', b'{"attributes":[1]}', b"\xff"]
)
def test_a_document_of_something_else_is_no_catalogue(content, tmp_path):
    (tmp_path / "zarr.json").write_bytes(content)
    with pytest.raises(s2cmc.StoreError, match=rf"{tmp_path}(/zarr\.json)? is (damaged|no catalogue)"):
        s2cmc.open_catalogue(tmp_path)


@given(where=anywhere, change=any_change)
@often
def test_the_bundle_with_another_byte_is_passed_over(copy, opened, where, change):
    """The same objects lie beside it, and its own checksum proves them."""
    with damaged(copy / "coordinates.zip", where, change):
        assert s2cmc.open_catalogue(copy).coords.to_dataset().identical(opened.coords.to_dataset())


@given(length=anywhere)
@often
def test_the_bundle_cut_short_is_passed_over(copy, opened, length):
    with cut(copy / "coordinates.zip", length):
        assert s2cmc.open_catalogue(copy).coords.to_dataset().identical(opened.coords.to_dataset())


@given(where=anywhere, change=any_change)
@often
def test_coordinates_with_another_byte_in_both_places_do_not_open(copy, where, change):
    with (
        damaged(copy / "coordinates.zip", where, change),
        damaged(copy / "cirrus/c/0", where, change),
        pytest.raises(
            s2cmc.StoreError,
            match=r"copy\.zarr/coordinates\.zip is damaged.*; nor are the coordinates beside it whole: .*s2cmc repair",
        ),
    ):
        s2cmc.open_catalogue(copy)


@SHARDS
@given(where=anywhere, change=any_change)
@example(where=0.0, change=1)  # the first chunk
@example(where=1 - 1e-9, change=128)  # the checksum of the index, which is the end
@often
def test_shards_with_another_byte_do_not_read(copy, pixels, key, read, where, change):
    with damaged(copy / key, where, change), pytest.raises(s2cmc.StoreError, match=rf"copy\.zarr/{key} is damaged"):
        read(pixels).compute()


@SHARDS
@given(length=anywhere)
@example(length=0.0)
@often
def test_shards_cut_short_do_not_read(copy, pixels, key, read, length):
    with (
        cut(copy / key, length),
        pytest.raises(s2cmc.StoreError, match=rf"copy\.zarr/{key} (is damaged|is cut short|cannot be read)"),
    ):
        read(pixels).compute()


@given(where=anywhere, change=any_change)
@often
def test_a_part_of_a_damaged_shard_is_right_or_does_not_read(copy, pixels, opened, where, change):
    """One band of thirteen: damage to another is none of its business."""
    key = "reflectance/c/3/0/0/0"
    with damaged(copy / key, where, change):
        try:
            got = pixels.reflectance[3, :, :, 7].compute()
        except s2cmc.StoreError as error:
            assert f"copy.zarr/{key} is damaged" in str(error)  # noqa: PT017, it may also be right
        else:
            np.testing.assert_array_equal(got, opened.reflectance[3, :, :, 7])


@pytest.mark.parametrize("where", [0.0, 0.5, 1 - 1e-9])
def test_verify_finds_every_damaged_object(store, tmp_path, where):
    """Of all kinds at once, also those that nothing else reads."""
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    document = json.loads((copy / "zarr.json").read_bytes())
    arrays = document["consolidated_metadata"]["metadata"]
    chunks = {path.relative_to(copy).as_posix() for path in copy.glob("*/c/**/*") if path.is_file()}
    objects = {*chunks, *(f"{name}/zarr.json" for name in arrays), "shards.json"}
    assert len(objects) == sum(path.is_file() for path in copy.rglob("*")) - len({"zarr.json", "coordinates.zip"})
    for name in objects:
        content = bytearray((copy / name).read_bytes())
        content[int(where * len(content))] ^= 0x20
        (copy / name).write_bytes(content)
    problems = verify(str(copy))
    found = {name for name in objects if any(re.search(rf"(^|[ /]){name}\b", problem) for problem in problems)}
    assert found == objects


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(lambda shard: shard.unlink(), "is missing"), (lambda shard: shard.write_bytes(b"cut"), "is damaged: ")],
    ids=["missing", "cut"],
)
def test_scenes_that_are_whole_are_read_and_the_one_that_is_hit_is_named(store, opened, tmp_path, spoil, said):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    key = "reflectance/c/3/0/0/0"
    spoil(copy / key)
    spoilt = s2cmc.open_catalogue(copy)
    whole = spoilt.isel(scene=spoilt.scene != opened.scene.values[3])
    expected = opened.isel(scene=opened.scene != opened.scene.values[3])
    np.testing.assert_array_equal(whole.reflectance, expected.reflectance)
    np.testing.assert_array_equal(spoilt.mask, opened.mask)
    named = rf"^{opened.scene.values[3]}: {copy}/{key} {said}.*`s2cmc verify` .* `s2cmc repair`"
    for read in (spoilt.reflectance.mean(), spoilt.reflectance[3, :5, :5, 2], spoilt.clouds.band_statistics()["mean"]):
        with pytest.raises(s2cmc.StoreError, match=named):
            read.compute()


def test_masks_of_several_scenes_that_are_hit_are_named(store, opened, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "mask/c/0/0/0").unlink()
    first = ", ".join(opened.scene.values[:3])
    masks = s2cmc.open_catalogue(copy).mask[:8]
    with pytest.raises(s2cmc.StoreError, match=rf"^{first} and 5 more: {copy}/mask/c/0/0/0 is missing; "):
        masks.values  # noqa: B018, all are read at once


def test_a_damaged_root_says_how_it_is_mended(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (copy / "zarr.json").write_bytes((copy / "zarr.json").read_bytes()[:-1])
    with pytest.raises(s2cmc.StoreError, match=r"zarr\.json is damaged.*`s2cmc repair` makes it anew"):
        s2cmc.open_catalogue(copy)
