"""What `convert --plan` says before it is begun is what a conversion then takes."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.answers import Answer

import s2cmc
from s2cmc.conversion.convert import forecasts
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.convert.forecasts import ArrayForecast, Forecast, forecast
from s2cmc.conversion.convert.load import Block
from s2cmc.conversion.targets.folder import Folder
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


def array(tasks: int, seconds: float) -> ArrayForecast:
    return ArrayForecast("mask", tasks, reads=1, read_nbytes=1, written_nbytes=1, ratio=1.0, seconds=seconds)


def test_it_counts_the_objects_and_puts_of_the_conversion(release, store, tmp_path, monkeypatch):
    puts: list[str] = []
    put = Folder.put
    monkeypatch.setattr(Folder, "put", lambda self, key, value, **kw: puts.append(key) or put(self, key, value, **kw))
    found = forecast(str(release))
    assert puts == []
    convert(str(release), str(tmp_path / "store"))
    assert found.puts == len(puts)
    assert found.objects == sum(path.is_file() for path in store.rglob("*"))
    assert (found.scenes, found.tasks) == (10, 10 + 3)


def test_bytes_written_are_estimated_within_a_quarter(release, store):
    found = forecast(str(release))
    for one in found.arrays:
        actual = sum(path.stat().st_size for path in (store / one.name / "c").rglob("*") if path.is_file())
        assert one.written_nbytes == pytest.approx(actual, rel=0.25), one.name
    total = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert found.written_nbytes == pytest.approx(total, rel=0.25)


def test_bytes_read_are_those_of_the_members_as_they_lie_in_their_zips(release):
    for one in forecast(str(release)).arrays:
        part = {"reflectance": "subscenes"}.get(one.name, f"{one.name}s")
        with zipfile.ZipFile(release / f"{part}.zip") as archive:
            assert one.read_nbytes == sum(info.compress_size for info in archive.infolist())


def test_small_zips_are_read_at_once_and_files_one_by_one(release, tmp_path):
    assert [one.reads for one in forecast(str(release)).arrays] == [1, 1, 1, 1]
    folders = make_release(tmp_path / "folders", scenes=8, size=16, layout="folder")
    reads = {one.name: one.reads for one in forecast(str(folders)).arrays}
    assert (reads["reflectance"], reads["mask"]) == (8, 8)
    assert reads["alt_mask"] < 8


def test_time_is_shared_by_workers_but_no_task_is_split():
    arrays = (array(tasks=8, seconds=16.0), array(tasks=1, seconds=4.0))
    assert Forecast(8, 1, arrays, 0, 0, "").seconds == 20
    assert Forecast(8, 2, arrays, 0, 0, "").seconds == 10
    assert Forecast(8, 100, arrays, 0, 0, "").seconds == 4


def test_seconds_are_those_of_the_measured_scene_times_all(release, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(forecasts.time, "perf_counter", lambda: next(clock))
    seconds = {one.name: one.seconds for one in forecast(str(release)).arrays}
    assert seconds["reflectance"] == 10  # one second for each of 10 scenes


def test_an_array_that_no_scene_has_takes_nothing(tmp_path):
    release = make_release(tmp_path / "release", scenes=1, size=16)
    alt_mask = next(one for one in forecast(str(release)).arrays if one.name == "alt_mask")
    assert (alt_mask.reads, alt_mask.read_nbytes, alt_mask.written_nbytes, alt_mask.seconds) == (0, 0, 0, 0.0)


def test_a_scene_that_cannot_be_stored_is_said(release, monkeypatch):
    def encode(*_: object) -> tuple[bytes, Block]:
        return b"", Block(problems=["scene: broken"])

    monkeypatch.setattr(forecasts, "encode_block", encode)
    with pytest.raises(s2cmc.ReleaseError, match="measured cannot be stored\n  - scene: broken"):
        forecast(str(release))


def test_the_command_shows_it_and_writes_nothing(release: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    line = ["convert", release, tmp_path / "store", "--plan", "--workers", 64, "--no-thumbnails"]
    answer = run(*line)
    assert (answer.code, answer.err) == (0, "")
    assert "conversion of 10 scenes; nothing is written" in answer.out
    assert "with 64 workers that do not slow each other down" in answer.out
    assert "thumbnail" not in answer.out
    assert not (tmp_path / "store").exists()
