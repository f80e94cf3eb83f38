"""The command on outputs that cannot hold every letter: nothing fails, and the letter is escaped."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import s2cmc

FOLDER = "雪 Ω"
"""In neither ASCII, Latin-1 nor CP1252."""

ESCAPED = r"\u96ea \u03a9"


def command(encoding: str, *line: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process of its own, with another encoding of its output."""
    return subprocess.run(
        [sys.executable, "-m", "s2cmc", *map(str, line)],
        env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "200"} | environment,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def folder(tiny: Path, tiny_store: Path, tmp_path: Path) -> Path:
    return _linked(tmp_path / FOLDER, tiny, tiny_store)


def _linked(folder: Path, release: Path, store: Path) -> Path:
    folder.mkdir()
    (folder / "release").symlink_to(release)
    (folder / "store").symlink_to(store)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1:strict", "ascii:surrogateescape"])
def test_a_conversion_ends_well(folder: Path, encoding: str) -> None:
    done = command(encoding, "convert", folder / "release", folder / "new", "--report", folder / "report.json")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert f"{ESCAPED}/new" in done.stdout.decode("ascii")
    assert s2cmc.open_catalogue(folder / "new").sizes["scene"] == 3
    again = command(encoding, "convert", folder / "release", folder / "new")
    assert again.returncode == 1
    assert again.stderr.decode("ascii").strip().startswith("error: ")
    assert f"{ESCAPED}/new is a finished store" in again.stderr.decode("ascii")


LINES = {
    "sample": (["sample", "{folder}/sample", "--scenes", "1", "--size", "16"], 0),
    "verify": (["verify", "{folder}/store", "{folder}/release"], 0),
    "repair": (["repair", "{folder}/store", "{folder}/release", "--dry-run"], 0),
    "restore": (["restore", "{folder}/store", "{folder}/restored"], 0),
    "publish": (["publish", "{folder}/store", "{folder}/public"], 0),
    "info": (["info", "{folder}/nothing"], 1),
    "select": (["select", "{folder}/store", "--json", "{folder}/scenes.json", "--csv", "{folder}/scenes.csv"], 0),
    "fractions": (["fractions", "{folder}/nothing"], 1),
    "gallery": (["gallery", "{folder}/store", "{folder}/gallery.png", "--most", "1"], 0),
    "stats": (["stats", "{folder}/store", "--html", "{folder}/stats.html", "--by", "split:season"], 0),
    "evaluate": (["evaluate", "{folder}/store", "{folder}/predictions", "--resamples", "1"], 0),
    "export": (["export", "{folder}/store", "{folder}/pictures", "--format", "png"], 0),
    "metadata": (["metadata", "{folder}/store", "{folder}/metadata"], 0),
    "window": (["window", "{folder}/store", "雪"], 1),
    "georeference": (["georeference", "{folder}/store", "0", "{folder}/none.SAFE"], 1),
}


ONE_BY_ONE = """
import json, runpy, sys
for line in json.loads(sys.stdin.read()):
    sys.argv = ["s2cmc", *line]
    try:
        runpy.run_module("s2cmc", run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    for stream in (sys.stdout, sys.stderr):
        print(f"=== {code}", file=stream, flush=True)
"""
"""Runs several lines in one process, for each of which Python would start anew."""


@pytest.fixture(scope="module")
def answers(tiny: Path, tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Exit code, output and errors of all `LINES`, run with an output in ASCII."""
    folder = _linked(tmp_path_factory.mktemp("answers") / FOLDER, tiny, tiny_store)
    _predict_clear(folder)
    done = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE],
        input=json.dumps([[word.format(folder=folder) for word in line] for line, _ in LINES.values()]),
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"},
        capture_output=True,
        check=True,
        text=True,
    )
    texts = [re.split(r"^=== (\d+)\n", stream, flags=re.MULTILINE) for stream in (done.stdout, done.stderr)]
    output, errors = texts
    return {name: (int(output[2 * i + 1]), output[2 * i], errors[2 * i]) for i, name in enumerate(LINES)}


@pytest.mark.slow
@pytest.mark.parametrize("name", LINES)
def test_every_subcommand_escapes_what_it_cannot_show(answers: dict[str, tuple[int, str, str]], name: str) -> None:
    code, output, errors = answers[name]
    assert code == LINES[name][1], errors
    assert "Traceback" not in errors
    assert r"\u96ea" in output + errors


def _predict_clear(folder: Path) -> None:
    (folder / "predictions").mkdir()
    for scene in s2cmc.open_catalogue(folder / "store").scene.values:
        np.save(folder / "predictions" / f"{scene}.npy", np.zeros((16, 16), np.uint8))


@pytest.mark.slow
def test_files_are_utf_8_whatever_the_output_is(folder: Path) -> None:
    done = command(
        "cp1252",
        "stats",
        folder / "store",
        "--by",
        "split:season",
        "--html",
        folder / "a.html",
        "--json",
        folder / "a.json",
    )
    assert done.returncode == 0
    assert "×" in done.stdout.decode("cp1252"), "which this encoding has"
    assert "×" in (folder / "a.html").read_text(encoding="utf-8")
    assert r"\u00d7" in (folder / "a.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_the_user_asked_for_stays(folder: Path) -> None:
    done = command("ascii:replace", "select", folder / "store", "--json", folder / "a.json")
    assert b"/? ?/a.json" in done.stdout
    assert "雪" in command("utf-8", "select", folder / "store", "--json", folder / "a.json").stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_a_bar_of_progress_on_a_terminal_of_another_encoding(folder: Path) -> None:
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "s2cmc", "convert", str(folder / "release"), str(folder / "new")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(line, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    assert b"converting" in shown
    assert ESCAPED.encode() in shown
    assert b"Traceback" not in shown
