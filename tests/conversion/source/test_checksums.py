"""``s2cmc verify --published``: the files of a release against the MD5s that were published with them."""

import hashlib
import re
import shutil

import numpy as np
import pytest
from helpers.file_server import RangeHandler
from helpers.memory import memory_below

from s2cmc.conversion.source import checksums
from s2cmc.conversion.source.checksums import PUBLISHED, FileReport, PublishedFile, verify_published
from s2cmc.errors import ReleaseError

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path):
    """A folder that holds seven synthetic files under the published names, one of them of many requests."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(PUBLISHED):
        (tmp_path / "release").mkdir(exist_ok=True)
        (tmp_path / "release" / name).write_bytes(rng.bytes(100_000 if name == "subscenes.zip" else i))
    return tmp_path / "release"


@pytest.fixture
def expected(place):
    """The checksums of `place`."""
    files = {name: (place / name).read_bytes() for name in PUBLISHED}
    return {name: PublishedFile(len(content), hashlib.md5(content).hexdigest()) for name, content in files.items()}  # noqa: S324


def states(reports: list[FileReport]) -> dict[str, str]:
    return {report.name: report.state for report in reports}


def test_the_checksums_are_those_of_the_record(shared_data):
    """Every row of the table of the published record, and a file of it."""
    text = (shared_data / "README.md").read_text()
    rows = re.findall(r"\| (\S+) \| ([\d,]+) \| ([0-9a-f]{32}) \|", text)
    assert {name: PublishedFile(int(n.replace(",", "")), md5) for name, n, md5 in rows} == PUBLISHED
    assert sum(file.nbytes for file in PUBLISHED.values()) == 15_354_849_917
    content = (shared_data / "classification_tags.csv").read_bytes()
    assert PublishedFile(len(content), hashlib.md5(content).hexdigest()) == PUBLISHED["classification_tags.csv"]  # noqa: S324


def test_the_genuine_table_matches_and_all_else_is_missing(shared_data, tmp_path, run):
    shutil.copy(shared_data / "classification_tags.csv", tmp_path)
    answer = run("verify", "--published", tmp_path)
    assert answer.code == 1
    first, *others = answer.out.splitlines()
    assert first == "classification_tags.csv: matches, 77,940 bytes, MD5 6911e5a8915daf9a98638eb21ba4afd3"
    assert others == [f"{name}: missing" for name in list(PUBLISHED)[1:]]
    assert f"{tmp_path}: 1 of 7 published files are here and match" in answer.err


def test_a_whole_release_matches(place, expected, monkeypatch, run):
    defaults = verify_published.__kwdefaults__ | {"published": expected}
    monkeypatch.setattr(verify_published, "__kwdefaults__", defaults)
    answer = run("verify", "--published", place)
    assert answer.code == 0, answer.err
    assert answer.out.count(": matches, ") == 7
    assert answer.out.endswith(f"{place}: 7 of 7 published files are here and match\n")


def test_a_synthetic_release_differs_and_says_how(release, run):
    answer = run("verify", "--published", release)
    assert answer.code == 1
    content = (release / "masks.zip").read_bytes()
    md5 = hashlib.md5(content).hexdigest()  # noqa: S324
    published = "published c955efe74c52d07f8e8bb02d5143e182 of 7,241,097 bytes"
    line = f"masks.zip: differs: MD5 {md5} of {len(content):,} bytes; {published}"
    assert line in answer.out.splitlines()
    assert "README.pdf: missing" in answer.out
    assert "SYNTHETIC.txt: not part of the publication" in answer.out


def test_one_flipped_bit_differs(place, expected):
    content = bytearray((place / "subscenes.zip").read_bytes())
    content[-1] ^= 1
    (place / "subscenes.zip").write_bytes(content)
    found = states(verify_published(str(place), published=expected))
    assert found == dict.fromkeys(PUBLISHED, "matches") | {"subscenes.zip": "differs"}


def test_what_is_unpacked_cannot_be_compared(place, expected):
    (place / "masks.zip").unlink()
    (place / "masks").mkdir()
    (place / "thumbnails").mkdir()  # beside its zip
    reports = verify_published(str(place), published=expected)
    others = {"masks.zip": "unpacked", "thumbnails": "foreign"}
    assert states(reports) == dict.fromkeys(PUBLISHED, "matches") | others
    (text,) = [report.text for report in reports if report.state == "unpacked"]
    assert "says nothing about the files of a folder" in text


@pytest.mark.parametrize("block", [1, 30_001, 100_000, 8_000_000])
def test_a_web_server_is_read_in_pieces_side_by_side(place, expected, serve, monkeypatch, block):
    if block == 1:
        (place / "subscenes.zip").write_bytes(b"sevenths")
        expected["subscenes.zip"] = PublishedFile(8, hashlib.md5(b"sevenths").hexdigest())  # noqa: S324
    monkeypatch.setattr(checksums, "_BLOCK", block)
    server = serve(place)
    told: list[tuple[int, int]] = []
    reports = verify_published(server.url, published=expected, progress=lambda *done: told.append(done))
    assert states(reports) == dict.fromkeys(PUBLISHED, "matches")
    total = sum(file.nbytes for file in expected.values())
    assert told[-1] == (total, total)
    assert sorted(told) == told
    asked = [nbytes for method, path, nbytes in server.log if method == "GET" and path == "/subscenes.zip"]
    assert sum(asked) == expected["subscenes.zip"].nbytes
    assert max(asked) <= block


class _CutShort(RangeHandler):
    """Gives less than was asked for."""

    def end_headers(self) -> None:
        self.wfile = _Half(self.wfile) if self.command == "GET" and "masks" in self.path else self.wfile
        super().end_headers()


class _Half:
    def __init__(self, file) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        return self._file.write(content if content.startswith(b"HTTP") else content[: len(content) // 2])

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def test_a_file_that_cannot_be_read_is_said_and_others_are_compared(place, expected, serve):
    reports = verify_published(serve(place, _CutShort).url, published=expected)
    found = states(reports)
    assert found["masks.zip"] == "unreadable"
    assert found["subscenes.zip"] == "matches"


@pytest.mark.parametrize(
    ("where", "match"),
    [("{tmp}/none", "there is no folder"), ("http://127.0.0.1:9", "cannot be read"), ("foo://x", "cannot be read")],
)
def test_a_place_that_is_not_there(where, match, tmp_path):
    with pytest.raises(ReleaseError, match=match):
        verify_published(where.format(tmp=tmp_path))


@pytest.mark.parametrize("words", [(), ("store", "--published", "release")])
def test_it_is_one_or_the_other(words, run):
    answer = run("verify", *words)
    assert answer.code == 2
    assert "give either STORE or --published RELEASE" in answer.err


def test_a_large_file_takes_no_memory(place, tmp_path):
    """A sparse file of 300 MB."""
    with (place / "subscenes.zip").open("wb") as file:
        file.truncate(300_000_000)
    with memory_below(32_000_000):
        assert states(verify_published(str(place)))["subscenes.zip"] == "differs"
