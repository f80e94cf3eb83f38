"""A record converts as its files on disk do, however its server behaves; requests and bytes are counted."""

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from helpers.answers import Answer
from helpers.record_server import RecordServer

import s2cmc
from s2cmc.conversion import convert, forecast, verify
from s2cmc.conversion.records import RecordError
from s2cmc.conversion.source import keep_thumbnail, open_release
from s2cmc.conversion.source.checksums import PublishedFile, verify_published
from s2cmc.release import PARTS
from s2cmc.synthetic import make_release

pytestmark = [pytest.mark.network, pytest.mark.slow]

OF_A_RUN = ("history", "date_created", "metadata_sha256")


def objects(store: Path) -> Mapping[str, object]:
    """Objects of a store by key; the root document without what differs from run to run."""
    found: dict[str, object] = {
        path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()
    }
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"] = {name: value for name, value in root["attributes"].items() if name not in OF_A_RUN}
    return found | {"zarr.json": root}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 synthetic scenes of 128 x 128 pixels, as published, and a README.pdf."""
    folder = make_release(tmp_path_factory.mktemp("published") / "release", scenes=12, size=128, quirks=True)
    (folder / "README.pdf").write_bytes(b"%PDF-1.4 synthetic")
    return folder


@pytest.fixture(scope="module")
def local(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `published`, converted from disk."""
    store = tmp_path_factory.mktemp("local") / "store.zarr"
    convert(published, store)
    return store


HARD = ("--limit", 12, "--window", 3, "--cut", 100_000, "--fail", 0.05)


@pytest.mark.parametrize(
    "options",
    [
        ("--limit", 1000),
        ("--limit", 12, "--window", 3),
        ("--limit", 1000, "--cut", 100_000),
        ("--limit", 1000, "--fail", 0.2),
        ("--limit", 1000, "--no-ranges"),
        HARD,
        (*HARD, "--no-ranges"),
    ],
    ids=["plain", "limit", "cut", "fail", "no ranges", "all", "all, no ranges"],
)
def test_every_object_is_that_of_a_local_conversion(
    options: tuple[Any, ...], published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, *options)
    server.reset()
    report = convert(server.url, tmp_path / "store.zarr")
    assert objects(tmp_path / "store.zarr") == objects(local)
    counted = server.counted()
    assert counted["heads"] == 0
    assert counted["most_in_window"] <= options[options.index("--limit") + 1]
    assert counted["refused"] == 0
    assert report.scenes == 12


def test_requests_are_one_for_a_scene_and_a_few_for_all_else(
    published: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    """So that 513 scenes take 524: the listing, the table, two for each of four small zips, one for the directory."""
    server = serve_record(published, "--limit", 1000)
    report = convert(server.url, tmp_path / "store.zarr")
    counted = server.counted()
    assert counted["requests"] <= 12 + 11
    assert counted["bytes"] <= 1.01 * sum(path.stat().st_size for path in published.iterdir()) + 131_072  # a directory
    assert report.proof.startswith("proved while it was read: the MD5 of ")
    assert "masks.zip" in report.proof
    assert report.proof.endswith("; size and CRC-32 of each member that was read of subscenes.zip")


def test_of_some_scenes_only_what_they_need_is_fetched(
    published: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, "--limit", 1000)
    with zipfile.ZipFile(published / "subscenes.zip") as archive:
        sizes = {Path(info.filename).stem: info.compress_size for info in archive.infolist()}
    wanted = [scene for scene in sizes if scene != "subscenes"][2:4]
    convert(server.url, tmp_path / "store.zarr", scenes=wanted)
    others = sum(path.stat().st_size for path in published.iterdir() if path.name != "subscenes.zip")
    assert (
        server.counted()["bytes"] <= sum(sizes[scene] for scene in wanted) + min(others, 5 * 131_072) + 131_072 + 1_000
    )


KILLED = """
import os, signal, sys
from s2cmc.conversion import convert

def kill(done, total):
    if done > 0.6 * total:
        os.kill(os.getpid(), signal.SIGKILL)

convert(sys.argv[1], sys.argv[2], workers=1, progress=kill)
"""


@pytest.mark.parametrize("options", [(), ("--no-ranges",)], ids=["ranges", "no ranges"])
def test_a_killed_run_is_resumed_and_no_finished_scene_is_done_twice(
    options: tuple[str, ...], published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, "--limit", 1000, *options)
    store = tmp_path / "store.zarr"
    ended = subprocess.run([sys.executable, "-c", KILLED, server.url, store], check=False)
    assert ended.returncode == -signal.SIGKILL
    server.reset()
    report = convert(server.url, store)
    assert report.resumed > len(["mask", "alt_mask", "thumbnail"])
    assert objects(store) == objects(local)
    if not options:
        with zipfile.ZipFile(published / "subscenes.zip") as archive:
            scene = max(info.compress_size for info in archive.infolist())
        small = sum(path.stat().st_size for path in published.iterdir() if path.name != "subscenes.zip")
        remaining = 12 - (report.resumed - 3)
        assert server.counted()["bytes"] <= remaining * scene + small + 6 * 131_072


def test_what_streamed_by_is_resumed_from_files_on_disk(
    published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, "--limit", 1000, "--no-ranges")
    store = tmp_path / "store.zarr"
    subprocess.run([sys.executable, "-c", KILLED, server.url, store], check=False)
    report = convert(published, store)
    assert report.resumed > len(["mask", "alt_mask", "thumbnail"])
    assert objects(store) == objects(local)


@pytest.mark.parametrize("options", [(), ("--no-ranges",)], ids=["ranges", "no ranges"])
def test_what_is_kept_is_the_record_and_converts(
    options: tuple[str, ...], published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, "--limit", 1000, *options)
    report = convert(server.url, tmp_path / "store.zarr", keep=tmp_path / "kept")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    expected = {path.name: path.read_bytes() for path in published.iterdir() if path.suffix in (".csv", ".zip", ".txt")}
    assert kept == {name: content for name, content in expected.items() if name in kept}
    assert {"classification_tags.csv", *(f"{part}.zip" for part in PARTS)} <= kept.keys()
    assert "size and CRC-32" not in report.proof
    convert(tmp_path / "kept", tmp_path / "again.zarr")
    assert objects(tmp_path / "again.zarr")["zarr.json"].keys() == objects(local)["zarr.json"].keys()  # type: ignore[attr-defined]
    server.reset()
    convert(server.url, tmp_path / "third.zarr", keep=tmp_path / "kept")
    assert server.counted()["bytes"] == 0


def test_a_file_that_changes_under_way_is_an_error(
    published: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, "--limit", 1000)

    def change(done: int, total: int) -> None:
        if done > total / 2:
            server.change("subscenes.zip")

    with pytest.raises(s2cmc.ReleaseError, match=r"^http.*subscenes\.zip has changed under way: its MD5 was"):
        convert(server.url, tmp_path / "store.zarr", workers=1, progress=change)


@pytest.mark.parametrize("options", [(), ("--no-ranges",)], ids=["ranges", "no ranges"])
def test_a_store_is_verified_against_the_record(
    options: tuple[str, ...], published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    server = serve_record(published, "--limit", 1000, *options)
    assert verify(local, server.url) == []
    other = make_release(tmp_path / "other", scenes=12, size=128, quirks=True)
    with zipfile.ZipFile(other / "subscenes.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    scene = next(name for name in content if name.endswith(".npy"))
    changed = np.load(io.BytesIO(content[scene]))
    changed[5, 6, 7] += np.float32(1) / np.float32(10_000)
    buffer = io.BytesIO()
    np.save(buffer, changed)
    with zipfile.ZipFile(other / "subscenes.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (content | {scene: buffer.getvalue()}).items():
            archive.writestr(name, data)
    (line,) = verify(local, serve_record(other, "--limit", 1000, *options).url)
    assert line.startswith(Path(scene).stem)
    assert "reflectance differs in 1 values, the first at [5, 6, 7]" in line


def test_the_files_of_a_record_are_compared_with_what_was_published(
    published: Path, serve_record: Callable[..., RecordServer]
) -> None:
    server = serve_record(published, *HARD, "--no-ranges")
    expected = {
        path.name: PublishedFile(path.stat().st_size, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
        for path in published.iterdir()
    }
    wrong = expected | {"masks.zip": PublishedFile(5, "0" * 32)}
    assert {report.state for report in verify_published(server.url, published=expected)} == {"matches"}
    states = {report.name: report.state for report in verify_published(server.url, published=wrong)}
    assert states == dict.fromkeys(expected, "matches") | {"masks.zip": "differs"}


def test_a_plan_says_which_way_will_be_taken(published: Path, serve_record: Callable[..., RecordServer]) -> None:
    by_ranges = forecast(serve_record(published, "--limit", 1000).url)
    streaming = forecast(serve_record(published, "--limit", 1000, "--no-ranges").url)
    assert by_ranges.way == "scenes are read by ranges, a request each: what breaks off goes on where it ended"
    assert "is converted as it streams by, because the server honours no ranges" in streaming.way
    for found in (by_ranges, streaming):
        reflectance = next(array for array in found.arrays if array.name == "reflectance")
        assert reflectance.seconds > 0
        assert 0.3 < reflectance.ratio < 1.2
    assert next(array.reads for array in streaming.arrays if array.name == "reflectance") == 1


def test_the_command_takes_the_short_address(
    published: Path,
    serve_record: Callable[..., RecordServer],
    run: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("S2CMC_ZENODO_URL", serve_record(published, "--limit", 1000).host)
    answer = run("convert", "zenodo:4172871", tmp_path / "store.zarr")
    assert answer.code == 0
    assert "proved while it was read" in answer.out
    answer = run("verify", tmp_path / "store.zarr", "zenodo:4172871")
    assert answer.code == 0
    assert "every scene in it equals zenodo:4172871 bit for bit" in answer.out
    answer = run("convert", "zenodo:4172871", tmp_path / "other.zarr", "--plan")
    assert "scenes are read by ranges" in answer.out


def test_a_thumbnail_that_does_not_arrive_is_not_left_out(
    published: Path, serve_record: Callable[..., RecordServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2cmc.conversion.records.kept._TAIL", 2_000)  # or so small a zip would be there already
    server = serve_record(published, "--limit", 1000)
    source = open_release(server.url, give_up=0.1).scenes[0]
    server.close()
    assert source.thumbnail is not None
    with pytest.raises(RecordError, match=r"thumbnails\.zip.* cannot be read: .*; nothing has arrived for 0\.1 s"):
        keep_thumbnail(source.thumbnail, (16, 16))


def test_what_a_record_cannot_be_given_is_said(tmp_path: Path, published: Path) -> None:
    with pytest.raises(s2cmc.ArgumentError, match="is no record of a repository, of which files are kept"):
        convert(published, tmp_path / "store.zarr", keep=tmp_path / "kept")
    with pytest.raises(s2cmc.ArgumentError, match="is a record of a repository, which takes no options of a file"):
        convert("zenodo:4172871", tmp_path / "store.zarr", release_options={"anon": True})


def test_descriptors_and_zip64_stream_by(
    published: Path, local: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    """Sizes behind the data, as a zip is written into a pipe; members in another order, with a stray one."""
    folder = tmp_path / "release"
    shutil.copytree(published, folder)
    with zipfile.ZipFile(published / "subscenes.zip") as source, (folder / "subscenes.zip").open("wb") as file:
        pipe = io.BufferedWriter(Unseekable(file))
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ["__MACOSX/._x", *reversed(source.namelist())]:
                if name.endswith("/"):
                    continue
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as member:
                    member.write(source.read(name) if name in source.namelist() else b"stray")
        pipe.flush()
    convert(serve_record(folder, "--limit", 1000, "--no-ranges").url, tmp_path / "store.zarr")
    found, expected = objects(tmp_path / "store.zarr"), objects(local)
    assert {key for key in found if found[key] != expected[key]} == set()


class Unseekable(io.RawIOBase):
    """A file that is written from front to back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)


def test_a_zip_that_streams_by_damaged_or_without_a_scene_is_said(
    published: Path, serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    folder = tmp_path / "release"
    shutil.copytree(published, folder)
    content = bytearray((published / "subscenes.zip").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "subscenes.zip").write_bytes(content)
    with pytest.raises(s2cmc.ReleaseError, match=r"subscenes\.zip!subscenes/.*\.npy is damaged: |takes .* bytes"):
        convert(serve_record(folder, "--limit", 1000, "--no-ranges").url, tmp_path / "store.zarr")
    with (
        zipfile.ZipFile(published / "subscenes.zip") as source,
        zipfile.ZipFile(folder / "subscenes.zip", "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in source.namelist()[:-1]:
            archive.writestr(name, source.read(name))
        missing = Path(source.namelist()[-1]).stem
    with pytest.raises(s2cmc.ReleaseError, match=f"has ended, and 1 scenes have no file in it: {missing}"):
        convert(serve_record(folder, "--limit", 1000, "--no-ranges").url, tmp_path / "other.zarr")


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--no-ranges",)], ids=["ranges", "no ranges"])
def test_full_size_scenes_over_a_bad_network_with_a_kill_in_between(
    options: tuple[str, ...], serve_record: Callable[..., RecordServer], tmp_path: Path
) -> None:
    published = make_release(tmp_path / "release", scenes=6, size=1022)
    convert(published, tmp_path / "local.zarr")
    hard = ("--limit", 20, "--window", 5, "--cut", 5_000_000, "--fail", 0.05, *options)
    server = serve_record(published, *hard)
    subprocess.run([sys.executable, "-c", KILLED, server.url, tmp_path / "store.zarr"], check=False)
    convert(server.url, tmp_path / "store.zarr")
    assert objects(tmp_path / "store.zarr") == objects(tmp_path / "local.zarr")
    counted = server.counted()
    assert counted["most_in_window"] <= 20
    assert counted["refused"] == 0
