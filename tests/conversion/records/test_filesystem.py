"""A record as a file system: one listing, no HEAD, and what fsspec's users ask of it."""

import hashlib
import pickle
import zipfile

import fsspec
import pytest
from helpers.credentials import TOKEN

from s2cmc.conversion.records import NoRangesError, RecordFileSystem
from s2cmc.conversion.records.client import Client
from s2cmc.errors import ArgumentError, ReleaseError

LIMITLESS = ("--limit", 1_000_000)
NAMES = ["alt_masks.zip", "classification_tags.csv", "masks.zip", "shapefiles.zip", "subscenes.zip", "thumbnails.zip"]


@pytest.fixture
def server(release, serve_record):
    return serve_record(release, *LIMITLESS)


def test_names_sizes_and_md5_come_from_the_listing(server, release):
    filesystem = RecordFileSystem(server.url)
    listed = filesystem.find("")
    assert [name for name in listed if name != "SYNTHETIC.txt"] == NAMES
    for name in listed:
        content = (release / name).read_bytes()
        assert filesystem.size(name) == len(content)
        assert filesystem.md5(f"/{name}") == hashlib.md5(content).hexdigest()  # noqa: S324, as listed
        assert filesystem.info(name)["type"] == "file"
    assert filesystem.isdir("")
    assert filesystem.ls("", detail=False) == listed
    assert not filesystem.exists("nothing.zip")
    assert server.counted()["requests"] == 1


def test_contents_are_read_as_from_disk(server, release):
    filesystem = RecordFileSystem(server.url)
    content = (release / "masks.zip").read_bytes()
    for part in ((None, None), (0, 10), (10, 30), (-22, None), (5, -5), (len(content), None), (30, 10)):
        assert filesystem.cat_file("masks.zip", *part) == content[slice(*part)]
    assert b"".join(filesystem.stream("masks.zip", 7)) == content[7:]
    assert server.counted()["heads"] == 0


def test_a_zip_is_read_through_it(server, release):
    filesystem = RecordFileSystem(server.url)
    with filesystem.open("masks.zip") as remote, zipfile.ZipFile(remote) as found:
        expected = zipfile.ZipFile(release / "masks.zip")
        assert found.namelist() == expected.namelist()
        assert found.testzip() is None


def test_whether_ranges_are_honoured_is_learned_by_reading(server, release, serve_record):
    filesystem = RecordFileSystem(server.url)
    filesystem.cat_file("masks.zip", -22)
    assert filesystem.honours_ranges("masks.zip")
    assert server.counted()["requests"] == 2
    without = RecordFileSystem(serve_record(release, *LIMITLESS, "--no-ranges").url)
    assert not without.honours_ranges("masks.zip")
    with pytest.raises(NoRangesError, match=r"masks\.zip cannot be read in parts"):
        without.cat_file("masks.zip", -22)
    assert without.cat_file("masks.zip") == (release / "masks.zip").read_bytes()


def test_what_is_absent_is_a_file_that_is_not_found(server):
    filesystem = RecordFileSystem(server.url)
    for ask in (filesystem.info, filesystem.cat_file, filesystem.md5, filesystem.honours_ranges):
        with pytest.raises(FileNotFoundError, match=r"has no file nothing\.zip; it has .*masks\.zip"):
            ask("nothing.zip")


def test_a_file_of_which_nothing_is_known_is_not_taken_for_an_absent_one(server):
    filesystem = RecordFileSystem(server.url, give_up=0.2)
    server.close()
    with pytest.raises(ReleaseError, match=r"cannot be read: .*Connection refused"):
        filesystem.exists("masks.zip")


def test_a_record_that_is_absent_is_a_file_that_is_not_found(server):
    with pytest.raises(FileNotFoundError, match="api/records/5 is missing: the server answered 404"):
        RecordFileSystem(f"{server.host}/records/5").ls("")


def test_it_is_read_only(server):
    with pytest.raises(ArgumentError, match="is read-only; mode is 'wb'"):
        RecordFileSystem(server.url).open("masks.zip", "wb")


def test_an_address_that_is_no_record_is_an_error():
    with pytest.raises(ArgumentError, match="release is not the address of a record; expected zenodo:4172871"):
        RecordFileSystem("release")


def test_a_copy_in_another_process_has_a_client_of_its_own(server, monkeypatch):
    monkeypatch.setenv("S2CMC_ZENODO_URL", server.host)
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    filesystem = RecordFileSystem("zenodo:4172871", give_up=77)
    filesystem.ls("")
    content = pickle.dumps(filesystem)
    assert TOKEN.encode() not in content
    copy = pickle.loads(content)  # noqa: S301
    assert copy._client is not filesystem._client
    assert copy._client._give_up == 77
    assert copy.cat_file("masks.zip", 0, 2) == b"PK"


def test_neither_scheme_nor_instances_are_kept_by_fsspec(server):
    assert RecordFileSystem(server.url) is not RecordFileSystem(server.url)
    assert "zenodo" not in fsspec.registry


def test_a_file_that_changed_since_it_was_listed_is_an_error(server):
    filesystem = RecordFileSystem(server.url)
    filesystem.ls("")
    server.change("masks.zip")
    with pytest.raises(ReleaseError, match=r"masks\.zip has changed under way: its MD5 was"):
        filesystem.cat_file("masks.zip")


FILE = {"key": "masks.zip", "size": 5, "checksum": f"md5:{'0' * 32}"}


@pytest.fixture
def listed(monkeypatch):
    """Make a listing from documents by URL, as other hosts and versions have them."""

    def make(**documents):
        monkeypatch.setattr(Client, "json", lambda self, url: documents[url.rpartition("/")[2]])
        return RecordFileSystem("https://example.org/records/12")

    return make


@pytest.mark.parametrize(
    "documents",
    [
        {"12": {"id": 12, "files": [FILE]}},
        {"12": {"id": "12", "files": {"enabled": True, "entries": {"masks.zip": FILE}}}},
        {"12": {"files": {"entries": [FILE]}}},
        {
            "12": {"files": {"enabled": True}, "links": {"files": "https://example.org/api/records/12/files"}},
            "files": {"enabled": True, "entries": [FILE]},
        },
    ],
)
def test_listings_of_all_shapes_are_read(documents, listed):
    assert listed(**documents).info("masks.zip") == {
        "name": "masks.zip",
        "size": 5,
        "type": "file",
        "md5": "0" * 32,
    }


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"files": None},
        {"files": {"enabled": False}},
        {"files": [FILE | {"key": "../masks.zip"}]},
        {"files": [FILE | {"key": ".."}]},
        {"files": [FILE | {"key": "C:masks.zip"}]},
        {"files": [FILE | {"key": "masks\n.zip"}]},
        {"files": [FILE | {"size": -1}]},
        {"files": [FILE | {"size": "many"}]},
        {"files": [FILE | {"checksum": "sha256:00"}]},
        {"files": [{"key": "masks.zip"}]},
    ],
)
def test_a_listing_of_another_kind_is_an_error(document, listed):
    with pytest.raises(ReleaseError, match=r"does not list the files of a record.*expected name, size and MD5"):
        listed(**{"12": document}).ls("")
