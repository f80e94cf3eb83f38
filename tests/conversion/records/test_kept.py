"""What was read of a record stays on disk; requests are few, whole files are proved."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.record_server import RecordServer
from hypothesis import given
from hypothesis import strategies as st

import s2cmc
from s2cmc.conversion.records import KeptRecord, NoRangesError, RecordFileSystem
from s2cmc.conversion.records.parts import PartFile, joined

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of one file."""
    folder = tmp_path / "record"
    folder.mkdir()
    (folder / "masks.zip").write_bytes(CONTENT)
    return folder


spans = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple)


@given(st.lists(spans, max_size=8), spans)
def test_what_is_missing_is_what_was_not_written(written: list[tuple[int, int]], wanted: tuple[int, int]) -> None:
    part = PartFile(Path("nowhere"), "file", 60, "")
    there = np.zeros(60, bool)
    for first, last in written:
        part._spans = joined([*part._spans, (first, last)])
        there[first:last] = True
    missing = np.zeros(60, bool)
    for first, last in part.missing(*wanted):
        assert first < last
        missing[first:last] = True
    expected = np.zeros(60, bool)
    expected[slice(*wanted)] = ~there[slice(*wanted)]
    np.testing.assert_array_equal(missing, expected)


def test_spans_come_in_any_order_and_in_two_runs(tmp_path: Path) -> None:
    first = PartFile(tmp_path, "file", len(CONTENT), MD5)
    first.write(600_000, CONTENT[600_000:])
    first.write(0, CONTENT[:200_000])
    first.save()
    assert first.missing() == [(200_000, 600_000)]
    second = PartFile(tmp_path, "file", len(CONTENT), MD5)
    assert second.missing() == [(200_000, 600_000)]
    assert b"".join(second.read(700_000, 900_000)) == CONTENT[700_000:900_000]
    second.write(200_000, CONTENT[200_000:600_000])
    second.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert PartFile(tmp_path, "file", len(CONTENT), MD5).missing() == []


def test_of_another_file_nothing_is_taken(tmp_path: Path) -> None:
    before = PartFile(tmp_path, "file", len(CONTENT), "0" * 32)
    before.write(0, CONTENT)
    before.save()
    assert PartFile(tmp_path, "file", len(CONTENT), MD5).missing() == [(0, len(CONTENT))]
    with pytest.raises(
        s2cmc.ReleaseError, match=f"has the MD5 {MD5} after all of it was fetched, but .* says 00000000"
    ):
        before.finish()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"short")
    with pytest.raises(
        s2cmc.ReleaseError, match="has 5 bytes, but the file of its name in the record 1000000; move it"
    ):
        PartFile(tmp_path, "file", len(CONTENT), MD5)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(s2cmc.ReleaseError, match=r"cannot be kept: .*(Not a directory|File exists)"):
        PartFile(tmp_path / "folder", "file", 9, MD5).write(0, b"content")


def kept(server: RecordServer, folder: Path | None = None, large: str = "") -> KeptRecord:
    return KeptRecord(RecordFileSystem(server.url, read_timeout=5), folder, large=large)


def test_expected_spans_come_together_and_once(folder: Path, serve_record: Callable[..., RecordServer]) -> None:
    server = serve_record(folder, "--limit", 1000)
    record = kept(server)
    members = [(i, i + 1_000) for i in range(300_000, 400_000, 2_000)]
    record.expect("masks.zip", [*members, (900_000, 950_000)])
    for first, last in [*members, (900_000, 950_000), *members]:
        assert record.cat_file("masks.zip", first, last) == CONTENT[first:last]
    counted = server.counted()
    assert (counted["requests"], counted["heads"]) == (3, 0)  # the listing, and two ranges
    assert counted["bytes"] == 99_000 + 50_000
    assert record.cat_file("masks.zip") == CONTENT
    assert server.counted()["bytes"] == len(CONTENT)
    assert record.proved == {"masks.zip"}


def test_almost_all_of_a_file_is_fetched_as_a_whole(folder: Path, serve_record: Callable[..., RecordServer]) -> None:
    server = serve_record(folder, "--limit", 1000)
    record = kept(server)
    record.expect("masks.zip", [(36, 500_000), (500_000, 999_000)])
    assert record.cat_file("masks.zip", 600_000, 600_010) == CONTENT[600_000:600_010]
    assert (server.counted()["requests"], server.counted()["bytes"]) == (2, len(CONTENT))
    assert record.proved == {"masks.zip"}


def test_a_temporary_folder_goes_with_the_record_and_another_stays(
    folder: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(folder, "--limit", 1000)
    record = kept(server)
    record.cat_file("masks.zip", 0, 10)
    temporary = record._folder
    assert temporary.is_dir()
    del record
    assert not temporary.exists()
    kept(server, tmp_path / "kept").cat_file("masks.zip", 0, 10)
    server.reset()
    again = kept(server, tmp_path / "kept")
    assert again.cat_file("masks.zip", 0, 10) == CONTENT[:10]
    assert server.counted()["bytes"] == 0
    again.complete("masks.zip")
    assert (tmp_path / "kept" / "masks.zip").read_bytes() == CONTENT


def test_of_the_large_file_a_temporary_folder_keeps_nothing(
    folder: Path, serve_record: Callable[..., RecordServer]
) -> None:
    record = kept(serve_record(folder, "--limit", 1000), large="masks.zip")
    assert record.cat_file("masks.zip", 5, 50) == CONTENT[5:50]
    assert record.proved == set()
    assert record.cat_file("masks.zip") == CONTENT
    assert record.proved == {"masks.zip"}
    assert list(record._folder.iterdir()) == []


def test_a_directory_that_is_larger_than_the_end_is_read_whole(
    folder: Path, serve_record: Callable[..., RecordServer]
) -> None:
    """As that of shapefiles.zip, with 3,079 members."""
    with zipfile.ZipFile(folder / "masks.zip", "w") as archive:
        for i in range(3_079):
            archive.writestr(f"shapefiles/{i:060d}/{i:060d}.shp", CONTENT[i : i + 50])
    server = serve_record(folder, "--limit", 1000)
    record = kept(server)
    with record.open("masks.zip") as file, zipfile.ZipFile(file) as archive:
        assert len(archive.namelist()) == 3_079
    assert server.counted()["requests"] == 3  # the listing, the end, and what of the directory lies before it


def test_without_ranges_a_file_comes_whole_and_the_large_one_says_so(
    folder: Path, serve_record: Callable[..., RecordServer]
) -> None:
    server = serve_record(folder, "--limit", 1000, "--no-ranges")
    assert kept(server).cat_file("masks.zip", 5, 50) == CONTENT[5:50]
    with pytest.raises(NoRangesError, match="cannot be read in parts"):
        kept(server, large="masks.zip").cat_file("masks.zip", 5, 50)
