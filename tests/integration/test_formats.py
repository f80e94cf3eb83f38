"""Stores of formats that no version reads any more: one error, everywhere; and the way out that it names."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
from helpers.accidents import objects
from helpers.answers import Answer
from helpers.sealing import reseal

import s2cmc
from s2cmc.conversion import convert, describe, export, publish, repair, restore, verify
from s2cmc.errors import CatalogueError, StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.store import versions_document

pytestmark = pytest.mark.slow

ADVICE = (
    r"has format 1\.[01], made by s2cmc 0\.1, which is not read any more; convert the release again: "
    r"`s2cmc convert RELEASE STORE --overwrite` replaces it"
)


@pytest.fixture(params=["1.0", "1.1"])
def old(request: pytest.FixtureRequest, copy: Path) -> Path:
    """A store of 4 scenes as s2cmc 0.1 made them; one of 1.0 has no digests."""

    def age(document: dict[str, dict[str, object]]) -> None:
        document["attributes"]["format_version"] = request.param
        if request.param == "1.0":
            for name in ("shard_digests", "shard_digests_sha256"):
                del document["attributes"][name]
            (copy / "shards.json").unlink()

    reseal(copy, age)
    return copy


ASKED: dict[str, Callable[[str, Path], object]] = {
    "open_catalogue": lambda store, _: s2cmc.open_catalogue(store),
    "open_dataset": lambda store, _: xr.open_dataset(store, engine="s2cmc"),
    "verify": lambda store, _: verify(store),
    "verify with the release": lambda store, four: verify(store, str(four / "release")),
    "repair": lambda store, four: repair(store, str(four / "release")),
    "repair, dry run": lambda store, four: repair(store, str(four / "release"), dry_run=True),
    "publish": lambda store, four: publish(store, f"{store}-published"),
    "export": lambda store, _: export(store, f"{store}-exported", format="npy"),
    "export a store": lambda store, _: export(store, f"{store}-exported", format="zarr"),
    "restore": lambda store, _: restore(store, f"{store}-restored"),
    "describe": lambda store, _: describe(store),
    "convert": lambda store, four: convert(str(four / "release"), store),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_store_of_s2cmc_0_1_is_one_error(old: Path, four: Path, ask: Callable[[str, Path], object]) -> None:
    before = objects(old)
    with pytest.raises(StoreError, match=rf"^{old} {ADVICE}$"):
        ask(str(old), four)
    assert objects(old) == before
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_the_command_says_the_same(old: Path, four: Path, run: Callable[..., Answer]) -> None:
    for words in (
        ["info", old],
        ["verify", old],
        ["repair", old, four / "release"],
        ["convert", four / "release", old],
    ):
        assert run(*words, width=400).is_one_message("made by s2cmc 0.1", "convert the release again")


def test_the_latest_of_several_versions_may_be_one(old: Path, four: Path) -> None:
    (old.parent / "zarr.json").write_bytes(versions_document(old.name, [old.name]))
    for ask in (s2cmc.open_catalogue, verify, lambda place: repair(place, str(four / "release"))):
        with pytest.raises(StoreError, match=ADVICE):
            ask(str(old.parent))


def test_converting_again_replaces_it(old: Path, four: Path) -> None:
    convert(str(four / "release"), str(old), overwrite=True)
    assert objects(old).keys() == objects(four / "store").keys()
    assert verify(str(old), str(four / "release")) == []


def test_a_conversion_that_s2cmc_0_1_began_is_not_resumed(four: Path, copy: Path) -> None:
    (copy / "zarr.json").unlink()
    plan = {"identity": {"format version": "1.1"}, "command": "s2cmc convert release store"}
    (copy / JOURNAL_PLAN).parent.mkdir()
    (copy / JOURNAL_PLAN).write_text(json.dumps(plan))
    for ask in (
        s2cmc.open_catalogue,
        verify,
        lambda place: convert(str(four / "release"), place),
        lambda place: repair(place, str(four / "release")),
    ):
        with pytest.raises(StoreError, match=rf"^{copy} {ADVICE}$"):
            ask(str(copy))
    convert(str(four / "release"), str(copy), overwrite=True)
    assert verify(str(copy), str(four / "release")) == []


def test_opened_by_plain_xarray_it_has_no_place(opened: xr.Dataset) -> None:
    """There y is positive; the scenes would be 40 m too far in the north."""
    old = opened.assign_coords(y=-opened.y)
    with pytest.raises(CatalogueError, match=r"coordinate y holds 10, .* turn its sign"):
        old.clouds.scene(0)


def test_a_smaller_store_of_s2cmc_0_1_is_exported_again(four: Path, tmp_path: Path) -> None:
    export(str(four / "store"), str(tmp_path / "part"), where="index < 2", format="zarr")
    whole = objects(tmp_path / "part")
    reseal(tmp_path / "part", lambda document: document["attributes"].update(format_version="1.1"))
    with pytest.raises(StoreError, match=ADVICE):
        export(str(four / "store"), str(tmp_path / "part"), where="index < 2", format="zarr")
    export(str(four / "store"), str(tmp_path / "part"), where="index < 2", format="zarr", overwrite=True)
    assert objects(tmp_path / "part").keys() == whole.keys()
    shutil.rmtree(tmp_path / "part")
