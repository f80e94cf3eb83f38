"""Publishing a store, into a folder and into a bucket of a real S3 server: versions that stay, a pointer that moves."""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.publish import _announce, publish
from s2cmc.conversion.targets.bucket import Bucket
from s2cmc.conversion.targets.folder import Folder
from s2cmc.conversion.targets.places import place_to_write
from s2cmc.conversion.verify.verification import verify
from s2cmc.storage.access import Access
from s2cmc.store.format import versions_document
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two small stores that differ."""
    folder = tmp_path_factory.mktemp("stores")
    for name, scenes in (("first", 1), ("second", 2)):
        convert(str(make_release(folder / f"{name}-release", scenes=scenes, size=16)), str(folder / name))
    return str(folder / "first"), str(folder / "second")


class Place:
    """Where something is published, and how to look behind it: a folder."""

    def __init__(self, url: str, **options: object) -> None:
        self.url = url
        self.options = options
        self.access = Access(**options)

    def publish(self, store: str, **more):
        return publish(store, self.url, access=self.access, **more)

    def open(self, below: str = ""):
        return s2cmc.open_catalogue(self.url + below, **self.options)

    def pointer(self) -> dict:
        return json.loads(self.get("zarr.json"))["attributes"]

    def verify(self, below: str = ""):
        return verify(self.url + below, access=self.access)

    def get(self, key: str) -> bytes:
        return Path(self.url, key).read_bytes()

    def put(self, key: str, content: bytes) -> None:
        path = Path(self.url, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def delete(self, key: str) -> None:
        Path(self.url, key).unlink()

    def names(self) -> list[str]:
        return [path.relative_to(self.url).as_posix() for path in Path(self.url).rglob("*") if path.is_file()]


class BucketPlace(Place):
    """The same in a bucket."""

    def __init__(self, bucket) -> None:
        super().__init__(f"{bucket.url}/published", **bucket.options)
        self.bucket = bucket

    def get(self, key: str) -> bytes:
        return self.bucket.get(f"published/{key}")

    def put(self, key: str, content: bytes) -> None:
        self.bucket.put(f"published/{key}", content)

    def delete(self, key: str) -> None:
        self.bucket.delete(f"published/{key}")

    def names(self) -> list[str]:
        return [key.removeprefix("published/") for key in self.bucket.listed("published/")]


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def place(request, tmp_path):
    if request.param == "folder":
        return Place(str(tmp_path / "published"))
    return BucketPlace(request.getfixturevalue("bucket"))


def _shard(place, version: str) -> str:
    return next(name for name in sorted(place.names()) if name.startswith(f"{version}/reflectance/c/"))


def test_the_place_opens_the_version_that_is_its_latest(place, stores):
    published = place.publish(stores[0])
    files = [path for path in Path(stores[0]).rglob("*") if path.is_file()]
    assert published.url == f"{place.url}/{published.version}"
    assert (published.copied, published.kept) == (len(files), 0)
    assert published.nbytes == sum(path.stat().st_size for path in files)
    copies = {f"{published.version}/{path.relative_to(stores[0]).as_posix()}": path for path in files}
    assert set(place.names()) == {"zarr.json", *copies}
    assert all(place.get(name) == path.read_bytes() for name, path in copies.items())
    found = place.open()
    assert found.encoding["source"] == published.url
    assert found.load().identical(s2cmc.open_catalogue(stores[0]).load())
    assert place.verify() == []


def test_who_has_opened_a_version_goes_on_reading_it(place, stores):
    """Also in a process to which it is sent, and where a version is opened by its own URL."""
    version = place.publish(stores[0]).version
    before = place.open()
    place.publish(stores[1])
    assert place.open().sizes["scene"] == 2
    expected = s2cmc.open_catalogue(stores[0]).reflectance.values
    np.testing.assert_array_equal(before.reflectance.values, expected)
    np.testing.assert_array_equal(place.open(f"/{version}").reflectance.values, expected)


def test_the_same_again_copies_nothing(place, stores):
    first = place.publish(stores[0])
    names, versions_document = sorted(place.names()), place.get("zarr.json")
    again = place.publish(stores[0])
    assert (again.copied, again.kept, again.version) == (0, first.copied, first.version)
    assert (sorted(place.names()), place.get("zarr.json")) == (names, versions_document)


def test_an_earlier_version_is_published_again_to_go_back(place, stores):
    first, second = (place.publish(store).version for store in stores)
    assert place.pointer()["versions"] == [first, second]
    assert place.publish(stores[0]).copied == 0
    assert place.pointer()["latest"] == first
    assert place.pointer()["versions"] == [second, first]
    assert place.open().sizes["scene"] == 1


def test_a_version_is_published_on_from_where_it_is(place, stores, tmp_path):
    place.publish(stores[1])
    further = publish(place.url, str(tmp_path / "further"), source_access=place.access)
    assert s2cmc.open_catalogue(tmp_path / "further").identical(s2cmc.open_catalogue(stores[1]))
    assert further.version == place.pointer()["latest"]


@pytest.mark.parametrize("puts", [0, 5, 40])
def test_what_was_interrupted_goes_on_and_was_not_announced(place, stores, monkeypatch, puts):
    """Nothing opens before its last object is there."""
    kind, done = (Bucket if isinstance(place, BucketPlace) else Folder), []
    put = kind.put

    def put_some(self, key: str, *args, **kwargs) -> str:
        if len(done) == puts:
            raise KeyboardInterrupt
        done.append(key)
        return put(self, key, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "put", put_some)
        with pytest.raises(KeyboardInterrupt):
            place.publish(stores[0], workers=1)
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        place.open()
    assert [name for name in place.names() if name.endswith("zarr.json") and name.count("/") < 2] == []
    published = place.publish(stores[0])
    assert published.kept == puts
    assert published.copied > 0
    assert place.verify() == []


def test_a_version_whose_root_is_missing_is_not_announced(place, stores, monkeypatch):
    def cut(*args):
        raise s2cmc.StoreError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["s2cmc.conversion.publish"], "_announce", cut)
        with pytest.raises(s2cmc.StoreError, match="cut"):
            place.publish(stores[0])
    assert "zarr.json" not in place.names()
    assert place.publish(stores[0]).copied == 0
    assert place.verify() == []


def test_a_damaged_object_of_the_same_size_is_replaced(place, stores):
    version = place.publish(stores[0]).version
    shard = _shard(place, version)
    content = place.get(shard)
    place.put(shard, content[:-1] + bytes([content[-1] ^ 1]))
    assert place.verify() != []
    again = place.publish(stores[0])
    assert (again.copied, again.version) == (1, version)
    assert place.get(shard) == content


def test_what_arrives_otherwise_than_it_was_sent_is_not_announced(place, stores, monkeypatch):
    kind = Bucket if isinstance(place, BucketPlace) else Folder
    put = kind.put
    monkeypatch.setattr(kind, "put", lambda self, key, value, **k: put(self, key, value[:-1] + b"?", **k))
    with pytest.raises(s2cmc.StoreError, match=r"is not what was sent; run the same command again"):
        place.publish(stores[0])
    assert "zarr.json" not in place.names()


def test_verify_finds_what_is_missing_foreign_or_damaged(place, stores):
    version = place.publish(stores[0]).version
    shard = _shard(place, version)
    content = place.get(shard)
    place.put(f"{version}/mask/letter.txt", b"")
    assert place.verify() == ["foreign object: mask/letter.txt"]
    place.delete(f"{version}/mask/letter.txt")
    place.put(shard, content[:10] + bytes([content[10] ^ 1]) + content[11:])
    assert [problem for problem in place.verify() if problem.startswith("reflectance of ")]
    place.delete(shard)
    assert place.verify()[0] == f"missing object: {shard.removeprefix(version + '/')}"


def test_a_store_without_all_its_objects_is_not_published(place, stores, tmp_path):
    store = shutil.copytree(stores[0], tmp_path / "torn")
    (store / "mask" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(s2cmc.StoreError, match=r"torn lacks 1 objects, mask/c/0/0/0 first; see s2cmc verify"):
        place.publish(str(store))
    (store / "zarr.json").unlink()
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        place.publish(str(store))
    (store / ".s2cmc-conversion").mkdir()
    (store / ".s2cmc-conversion" / "plan.json").write_text('{"command": "s2cmc convert"}')
    with pytest.raises(s2cmc.UnfinishedStoreError, match="is not complete; finish it with `s2cmc convert`"):
        place.publish(str(store))
    assert place.names() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"zarr_format": 3, "node_type": "group", "attributes": {"format": "s2cmc"}}', "holds a store itself"),
        (b'{"zarr_format": 3, "node_type": "array"}', "holds a store itself"),
        (b"[]", "holds a store itself"),
        (b"{", "is no JSON; choose another place, or remove it"),
        (versions_document("a", ["a"]).replace(b'"a"]', b'"b"]'), "is damaged, or was edited by hand"),
    ],
    ids=["store", "array", "list", "torn", "edited"],
)
def test_a_place_that_holds_something_else_is_refused(place, stores, content, said):
    place.put("zarr.json", content)
    with pytest.raises(s2cmc.StoreError, match=said):
        place.publish(stores[0])
    assert place.names() == ["zarr.json"]
    assert place.get("zarr.json") == content


def test_a_place_where_a_conversion_was_started_is_refused(place, stores):
    place.put(".s2cmc-conversion/plan.json", b'{"command": "s2cmc convert"}')
    with pytest.raises(s2cmc.StoreError, match="conversion"):
        place.publish(stores[0])
    assert place.names() == [".s2cmc-conversion/plan.json"]


def test_two_that_are_published_at_once_are_both_listed(place, stores):
    for _ in range(4):
        with ThreadPoolExecutor(2) as pool:
            versions = {done.version for done in pool.map(place.publish, stores)}
        pointer = place.pointer()
        assert set(pointer["versions"]) == versions
        assert pointer["latest"] == pointer["versions"][-1]
        place.delete("zarr.json")


def test_many_announcements_at_once_are_all_listed(place):
    """One after the other, however they come; nobody's is lost."""
    names = [f"version-{i}" for i in range(4)]
    where = place_to_write(place.url, place.access)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: _announce(where, name), names))
    assert sorted(place.pointer()["versions"]) == names
    assert place.names() == ["zarr.json"]
