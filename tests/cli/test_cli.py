"""The command: what it says, where it says it, and how it ends: 0 well, 1 an error or a difference, 2 a wrong line."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
import xarray as xr
from helpers.answers import Answer
from PIL import Image

import s2cmc
from s2cmc.cli import _console, app

COMMANDS = typer.main.get_command(app.app).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_what_a_command_takes(name: str, run: Callable[..., Answer]) -> None:
    answer = run(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert COMMANDS[name].help.splitlines()[0] in answer.out
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        assert (parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar) in answer.out


def test_help_lists_every_command(run: Callable[..., Answer]) -> None:
    answer = run("--help")
    assert answer.code == 0
    for name, command in COMMANDS.items():
        assert f" {name} " in answer.out
        assert command.help.split(".")[0] in answer.out


def test_version_is_that_of_the_package(run: Callable[..., Answer]) -> None:
    assert run("--version") == Answer(0, f"s2cmc {s2cmc.__version__}\n", "")


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["nonsense"],
        ["info"],
        ["info", "store", "--nonsense"],
        ["sample", "out", "--scenes", "0"],
        ["sample", "out", "--size", "big"],
        ["convert", "release"],
        ["convert", "release", "store", "--workers", "0"],
        ["convert", "release", "store", "--reflectance", "float16"],
        ["convert", "release", "store", "--storage-option", "anon"],
        ["restore", "store", "out", "--arrays", "tar"],
    ],
    ids=" ".join,
)
def test_a_wrong_line_ends_with_2(line: list[str], run: Callable[..., Answer]) -> None:
    answer = run(*line)
    assert answer.code == 2
    assert "Usage:" in answer.out + answer.err
    assert "Traceback" not in answer.err


def test_sample_convert_verify_and_restore_go_round(tmp_path: Path, run: Callable[..., Answer]) -> None:
    first, store, again = tmp_path / "release", tmp_path / "store", tmp_path / "again"
    answer = run("sample", first, "--scenes", 3, "--size", 16, "--seed", 5, "--unpacked", "--arrays", "npz")
    assert answer == Answer(0, f"synthetic release of 3 scenes of 16 x 16 pixels in {first}\n", "")
    answer = run("convert", first, store, "--workers", 1)
    assert answer.code == 0
    assert answer.out.startswith("conversion report\n  3 scenes in ")
    assert run("verify", store).out == f"{store}: every object is there, every checksum holds\n"
    answer = run("restore", store, again, "--unpacked", "--arrays", "npz")
    assert (answer.code, answer.out) == (0, f"{store} restored into {again}\n")
    answer = run("verify", store, again)
    assert (answer.code, answer.out) == (
        0,
        f"{store}: every object is there, every checksum holds, and every scene in it equals {again} bit for bit\n",
    )


def test_a_report_that_cannot_be_written_stops_before_the_work(
    tiny: Path, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    answer = run("convert", tiny, tmp_path / "store", "--report", tmp_path / "nowhere" / "report.json")
    assert answer.is_one_message("report.json")
    assert not (tmp_path / "store").exists()


def test_convert_takes_a_list_of_scenes(tiny: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    first, _, last = _scenes(tiny)
    assert run("convert", tiny, tmp_path / "store", "--scenes", f"{last}, {first}", "--no-thumbnails").code == 0
    found = s2cmc.open_catalogue(tmp_path / "store")
    assert list(found.scene.values) == [first, last]
    assert "thumbnail" not in found


def test_convert_takes_a_file_of_scenes_and_reports_as_json(
    tiny: Path, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    store, wanted, report = tmp_path / "store", tmp_path / "scenes.txt", tmp_path / "report.json"
    first, second, _ = _scenes(tiny)
    wanted.write_text(f"{second}\n{first}\n\n")
    assert run("convert", tiny, store, "--scenes", wanted, "--report", report).code == 0
    assert list(s2cmc.open_catalogue(store).scene.values) == [first, second]
    found = json.loads(report.read_text())
    assert (found["store"], found["scenes"], found["resumed"]) == (str(store), 2, 0)
    assert found["nbytes"] > 0


def _scenes(release: Path) -> list[str]:
    lines = (release / "classification_tags.csv").read_text().splitlines()
    column = lines[0].split(",").index("scene")
    return [line.split(",")[column] for line in lines[1:]]


def test_storage_options_reach_the_file_system(tiny: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    # fsspec's DirFileSystem: without these options it would not find anything.
    options = ["--storage-option", f"path={tiny.parent}", "--storage-option", "target_protocol=file"]
    assert run("convert", "dir://release", tmp_path / "store", *options).code == 0


def test_the_value_of_a_storage_option_is_json_or_text() -> None:
    pairs = ["anon=true", "port=80", 'client_kwargs={"a": [1]}', "key=abc", "secret=x=y", "empty="]
    assert _console.key_values(pairs, "--storage-option") == {
        "anon": True,
        "port": 80,
        "client_kwargs": {"a": [1]},
        "key": "abc",
        "secret": "x=y",
        "empty": "",
    }


@pytest.mark.slow
@pytest.mark.parametrize("array", ["reflectance", "mask", "cloud_percent"])
def test_verify_lists_what_is_damaged(array: str, tiny_store: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    damaged = sorted(path for path in (copy / array / "c").rglob("*") if path.is_file())[0]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(content)
    answer = run("verify", copy)
    assert answer.code == 1
    assert answer.out.strip()
    differences = [line for line in answer.out.splitlines() if not line.startswith("hit: ")]
    assert f"{copy}: {len(differences)} difference" in answer.err
    damaged.unlink()
    answer = run("verify", copy)
    assert answer.code == 1
    assert array in answer.out


def test_a_narrow_terminal_breaks_no_path(tiny_store: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    release, copy = tmp_path / "release", shutil.copytree(tiny_store, tmp_path / "copy")
    assert str(release) in run("sample", release, "--scenes", 1, "--size", 16, width=40).out
    assert str(copy) in run("verify", copy, width=40).out
    shutil.rmtree(copy / "mask" / "c")
    assert f"{copy}: 2 differences" in run("verify", copy, width=40).err
    assert str(copy) in run("info", copy / "nothing", width=40).err


def test_info_and_select_show_the_catalogue(store: Path, catalogue: xr.Dataset, run: Callable[..., Answer]) -> None:
    answer = run("info", store)
    assert (answer.code, answer.err) == (0, "")
    assert "10, in 8 independent groups" in answer.out
    thin = list(catalogue.clouds.select("thin and dataset == 'MAIN'").scene.values)
    answer = run("select", store, "thin", "--split", "train")
    assert answer.code == 0
    assert f"{len(thin)} scenes" in answer.out
    assert all(scene in answer.out for scene in thin)
    assert run("select", store, "thin", "--split", "train", "--ids") == Answer(0, "\n".join([*thin, ""]), "")
    assert run("select", store, "thin and not thin", "--ids") == Answer(0, "", "")


def test_fractions_shows_the_mean(store: Path, catalogue: xr.Dataset, run: Callable[..., Answer]) -> None:
    answer = run("fractions", store, "--where", "thin")
    thin = catalogue.clouds.select("thin")
    mean = [f"{value:.2f}" for value in 100 * thin.clouds.class_fractions().mean("scene").values]
    assert answer.code == 0
    last = next(line for line in answer.out.splitlines() if f"mean of {thin.sizes['scene']} scenes" in line)
    assert last.replace("│", " ").split()[-3:] == mean


def test_gallery_writes_a_picture(store: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    picture = tmp_path / "gallery.png"
    answer = run("gallery", store, picture, "--where", "cirrus", "--columns", 2, "--most", 2)
    assert answer == Answer(0, f"picture of 2 scenes in {picture}\n", "")
    with Image.open(picture) as opened:
        assert opened.format == "PNG"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (["info", "{tmp}/nothing"], ["holds no catalogue"]),
        (["info", "nonsense://x"], ["nonsense"]),
        (["info", "http://127.0.0.1:9/x"], ["127.0.0.1:9"]),
        (["select", "{store}", "cirus"], ["did you mean cirrus"]),
        (["select", "{store}", "--split", "valid"], ["'train', 'test'"]),
        (["fractions", "{store}", "--where", "1"], ["neither true nor false"]),
        (["gallery", "{store}", "{tmp}/g.png", "--where", "difficulty > 5"], ["no scene to show"]),
        (["gallery", "{tiny_store}", "{tmp}/g.txt", "--most", "1"], ["g.txt cannot be written"]),
        (["gallery", "{tiny_store}", "{tmp}/nowhere/g.png", "--most", "1"], ["g.png cannot be written"]),
        (["sample", "{store}"], ["not an empty folder"]),
        (["sample", "{store}/zarr.json/out"], ["zarr.json"]),
        (["sample", "{tmp}/out", "--quirks", "--scenes", "3"], ["quirks need at least 8"]),
        (["convert", "{tmp}/nothing", "{tmp}/new"], ["holds no classification_tags.csv"]),
        (["convert", "nonsense://x", "{tmp}/new"], ["nonsense"]),
        (["convert", "http://127.0.0.1:9/x", "{tmp}/new"], ["127.0.0.1:9"]),
        (["convert", "{tiny}", "{store}"], ["finished store", "--overwrite"]),
        (["convert", "{tiny}", "{tmp}/new", "--scenes", "S2A_MSIL1C"], ["not in the table", "'S2A_MSIL1C'"]),
        (["convert", "{tiny}", "{tmp}/new", "--scenes", ","], ["no scene was asked for"]),
        (["verify", "{tmp}/nothing"], ["holds no catalogue"]),
        (["verify", "{tiny_store}", "{tmp}/nothing"], ["holds no classification_tags.csv"]),
        (["restore", "{tiny_store}", "{tiny}"], ["not an empty folder"]),
    ],
    ids=" ".join,
)
def test_an_error_is_one_message_without_a_traceback(
    line: list[str],
    parts: list[str],
    store: Path,
    tiny: Path,
    tiny_store: Path,
    tmp_path: Path,
    run: Callable[..., Answer],
) -> None:
    answer = run(*(word.format(store=store, tiny=tiny, tiny_store=tiny_store, tmp=tmp_path) for word in line))
    assert answer.is_one_message(*parts)
    assert not (tmp_path / "new" / "zarr.json").exists()


@pytest.mark.slow
def test_the_module_is_the_command(store: Path) -> None:
    module = [sys.executable, "-m", "s2cmc"]
    done = subprocess.run([*module, "select", store, "cirus"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no scene coordinate 'cirus'")
    assert len(done.stderr.splitlines()) == 1
