"""Downloads end with the files of the record or with an error, whatever happens in between."""

import errno
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.credentials import TOKEN

from s2cmc.conversion import download
from s2cmc.conversion.records import downloads
from s2cmc.errors import ArgumentError, ReleaseError

LIMITLESS = ("--limit", 1_000_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven files of up to 12 MB."""
    folder = tmp_path_factory.mktemp("record")
    content = random.Random(18)  # noqa: S311, no secret
    for number, nbytes in enumerate([0, 10, 1000, 50_000, 700_000, 3_000_000, 12_000_000]):
        (folder / f"{number}.bin").write_bytes(content.randbytes(nbytes))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def nbytes(folder: Path) -> int:
    return sum(map(len, contents(folder).values()))


def part_of(folder: Path, name: str) -> str:
    """The name that a file has until it is proved."""
    return f"{name}.{hashlib.md5((folder / name).read_bytes()).hexdigest()}.part"  # noqa: S324, as listed


def test_all_files_are_fetched_with_one_request_each(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    steps = []
    done = download(server.url, tmp_path / "new", progress=lambda *step: steps.append(step))
    assert contents(tmp_path / "new") == contents(folder)
    assert [file.path.name for file in done] == sorted(contents(folder))
    assert not any(file.was_there for file in done)
    assert steps[-1] == (nbytes(folder), nbytes(folder))
    counted = server.counted()
    assert (counted["requests"], counted["heads"], counted["bytes"]) == (7, 0, nbytes(folder))  # the listing, no 0.bin


def test_files_that_are_there_and_prove_right_are_kept(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    download(server.url, tmp_path)
    server.reset()
    (tmp_path / "3.bin").write_bytes(bytes(50_000))
    done = download(server.url, tmp_path)
    assert [file.path.name for file in done if not file.was_there] == ["3.bin"]
    assert contents(tmp_path) == contents(folder)
    assert server.counted()["bytes"] == 50_000


def test_a_part_is_gone_on_with(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    content = (folder / "6.bin").read_bytes()
    (tmp_path / part_of(folder, "6.bin")).write_bytes(content[:11_000_000])
    download(server.url, tmp_path)
    assert contents(tmp_path) == contents(folder)
    assert server.counted()["bytes"] == nbytes(folder) - 11_000_000


def test_a_part_begins_anew_where_the_server_honours_no_ranges(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS, "--no-ranges")
    (tmp_path / part_of(folder, "6.bin")).write_bytes((folder / "6.bin").read_bytes()[:1_000_000])
    download(server.url, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_the_part_of_a_file_that_has_changed_is_not_gone_on_with(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    (tmp_path / f"6.bin.{'0' * 32}.part").write_bytes(b"of an earlier version")
    download(server.url, tmp_path)
    assert contents(tmp_path) == contents(folder)


@pytest.mark.parametrize("nbytes", [1_000_000, 12_000_000, 13_000_000])
def test_a_part_that_is_damaged_is_found_and_removed(nbytes, folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    (tmp_path / part_of(folder, "6.bin")).write_bytes(bytes(nbytes))
    if nbytes <= 12_000_000:  # a longer one is no part, and not hashed
        with pytest.raises(ReleaseError, match=r"6\.bin of .* is not what the record lists: its MD5 is"):
            download(server.url, tmp_path)
        assert not list(tmp_path.glob("6.bin*"))
    download(server.url, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_a_file_that_changes_after_the_listing_is_an_error(folder, serve_record, tmp_path, monkeypatch):
    server = serve_record(folder, *LIMITLESS)
    check_room = downloads._Download.check_room

    def change(self):
        check_room(self)
        server.change("6.bin")

    monkeypatch.setattr(downloads._Download, "check_room", change)
    with pytest.raises(ReleaseError, match=r"6\.bin has changed under way"):
        download(server.url, tmp_path)
    assert not (tmp_path / "6.bin").exists()


def test_content_that_is_not_of_the_listed_md5_is_not_kept(folder, serve_record, tmp_path):
    shutil.copytree(folder, tmp_path / "record")
    server = serve_record(tmp_path / "record", *LIMITLESS)
    (tmp_path / "record" / "5.bin").write_bytes(bytes(3_000_000))  # it still states the MD5 of before
    with pytest.raises(ReleaseError, match=r"5\.bin of .* is not what the record lists: .* run the same command again"):
        download(server.url, tmp_path / "new")
    assert not list((tmp_path / "new").glob("5.bin*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("--limit", 4, "--window", 2),
        (*LIMITLESS, "--cut", 500_000),
        (*LIMITLESS, "--window", 1, "--fail", 0.3),
        (*LIMITLESS, "--stall", 0.2),
        (*LIMITLESS, "--no-ranges", "--cut", 500_000),
        ("--limit", 12, "--window", 3, "--cut", 500_000, "--fail", 0.1, "--stall", 0.1),
        ("--limit", 12, "--window", 3, "--cut", 500_000, "--fail", 0.1, "--stall", 0.1, "--no-ranges"),
    ],
    ids=lambda settings: " ".join(map(str, settings)),
)
def test_a_bad_network_changes_nothing(settings, folder, serve_record, tmp_path):
    server = serve_record(folder, *settings)
    download(server.url, tmp_path, read_timeout=1)
    assert contents(tmp_path) == contents(folder)
    counted = server.counted()
    assert (counted["heads"], counted["refused"]) == (0, 0)
    assert counted["most_in_window"] <= settings[1]
    if "--no-ranges" not in settings and "--stall" not in settings:
        assert counted["bytes"] == nbytes(folder)


def command(server, folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "s2cmc", "download", "zenodo:4172871", str(folder)],
        env=os.environ | {"S2CMC_ZENODO_URL": server.host} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_killed_and_run_again_it_fetches_only_what_is_missing(folder, serve_record, tmp_path):
    """The first server falls silent in the middle of each file."""
    silent = serve_record(folder, *LIMITLESS, "--stall", 1)
    run = command(silent, tmp_path)
    until = time.monotonic() + 60
    while silent.counted()["bytes"] < 7_800_000 and time.monotonic() < until:  # half of each of the four largest
        time.sleep(0.05)
    time.sleep(0.5)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    kept = nbytes(tmp_path)
    assert kept > 7_000_000
    assert all(name.endswith((".part", ".lock")) for name in contents(tmp_path))
    server = serve_record(folder, *LIMITLESS)
    run = command(server, tmp_path)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert contents(tmp_path) == contents(folder)
    assert server.counted()["bytes"] == nbytes(folder) - kept


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait(number, folder, serve_record, tmp_path):
    server = serve_record(folder, "--limit", 2, "--window", 600)
    run = command(server, tmp_path)
    until = time.monotonic() + 60
    while server.counted()["requests"] < 2 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1)
    run.send_signal(number)
    said, _ = run.communicate(timeout=20)
    assert run.returncode == 128 + number, said
    assert re.search(r"waiting \d+ s: 127\.0\.0\.1:\d+ allows 2 requests at a time", said)
    assert "what is done is kept, and the same command resumes" in said


def test_an_error_stops_the_other_files_and_keeps_their_parts(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    (tmp_path / "0.bin").mkdir()  # it cannot be replaced by a file
    (tmp_path / "0.bin" / "file").write_text("")
    part = tmp_path / part_of(folder, "6.bin")
    part.write_bytes((folder / "6.bin").read_bytes()[:1_000_000])
    with pytest.raises(ReleaseError, match=r"0\.bin cannot be written: "):
        download(server.url, tmp_path)
    assert part.exists() or (tmp_path / "6.bin").exists()
    shutil.rmtree(tmp_path / "0.bin")
    download(server.url, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_a_folder_takes_one_download_at_a_time(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    with FileLock(tmp_path / ".s2cmc-download.lock"), pytest.raises(ReleaseError, match="another run downloads into"):
        download(server.url, tmp_path)
    download(server.url, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_a_full_disk_is_an_error_before_anything_is_fetched(folder, serve_record, tmp_path, monkeypatch):
    server = serve_record(folder, *LIMITLESS)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**7, 10**7))
    with pytest.raises(ReleaseError, match=r"has no room: 0\.02 GB are missing, and 0\.01 GB are free"):
        download(server.url, tmp_path)
    assert server.counted()["requests"] == 1


def test_a_disk_that_fills_up_is_an_error(folder, serve_record, tmp_path, monkeypatch):
    server = serve_record(folder, *LIMITLESS)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(ReleaseError, match=r"cannot be written: the disk is full; make room"):
        download(server.url, tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(folder, serve_record, tmp_path):
    server = serve_record(folder, *LIMITLESS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError, match="file cannot be made"):
        download(server.url, tmp_path / "file")


def test_what_is_no_record_is_an_error(tmp_path):
    with pytest.raises(ArgumentError, match="is not the address of a record; expected zenodo:4172871"):
        download("https://example.org/release", tmp_path)


def test_the_command_says_what_was_proved(folder, serve_record, tmp_path, run, monkeypatch):
    server = serve_record(folder, *LIMITLESS)
    monkeypatch.setenv("S2CMC_ZENODO_URL", server.host)
    answer = run("download", "zenodo:4172871", tmp_path)
    assert answer.code == 0
    md5 = hashlib.md5(b"").hexdigest()  # noqa: S324, as listed
    assert f"0.bin: 0 bytes, MD5 {md5} as listed\n" in answer.out
    assert f"zenodo:4172871: 7 files in {tmp_path}; next: s2cmc convert {tmp_path} STORE" in answer.out
    assert ", was here already" in run("download", "zenodo:4172871", tmp_path).out


def test_a_token_is_told_nowhere(folder, serve_record, said, run, monkeypatch):
    server = serve_record(folder, *LIMITLESS, "--cut", 500_000)
    monkeypatch.setenv("S2CMC_ZENODO_URL", server.host)
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    answer = run("download", "zenodo:4172871", said.folder)
    assert answer.code == 0, answer.err
    said.add(answer.out, answer.err)
    said.failing(lambda: download("zenodo:5", said.folder), "is missing")
    server.close()
    said.failing(lambda: download("zenodo:4172871", said.folder, give_up=0.5), "nothing has arrived for 0.5 s")
