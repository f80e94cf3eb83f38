"""Options that select scenes and divide them, which subcommands share; files of select; product IDs that stay whole."""

import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import typer.main
import xarray as xr
from helpers.answers import Answer
from helpers.output import read_csv, shows, strict_json

from s2cmc.cli import app
from s2cmc.report import tables

COMMANDS = typer.main.get_command(app.app).commands
OPTIONS = [
    *("--where", "--split", "--dataset", "--difficulty", "--annotator", "--time", "--bbox"),
    *("--shadows-marked", "--has-alt-mask"),
]

CONDITIONS = [
    (["--where", "season == 'winter'"], {"expression": "season == 'winter'"}),
    (["--where", "mgrs_tile == 'T03SXU'"], {"expression": "mgrs_tile == '03SXU'"}),
    (["--split", "test"], {"split": "test"}),
    (["--dataset", "VALIDATION", "--dataset", "CALIBRATION"], {"dataset": ["VALIDATION", "CALIBRATION"]}),
    (["--difficulty", "5"], {"difficulty": 5}),
    (["--difficulty", "1", "--difficulty", "3"], {"difficulty": [1, 3]}),
    (["--annotator", "A"], {"annotator": "A"}),
    (["--time", "2018-08"], {"time": "2018-08"}),
    (["--time", "2018-03/2018-08"], {"time": ("2018-03", "2018-08")}),
    (["--time", "2018-08/.."], {"time": ("2018-08", None)}),
    (["--time", "/2018-08-05"], {"time": (None, "2018-08-05")}),
    (["--bbox", "-180,0,180,90"], {"bbox": (-180, 0, 180, 90)}),
    (["--bbox=-180,-90,0,0"], {"bbox": (-180, -90, 0, 0)}),
    (["--shadows-marked"], {"shadows_marked": True}),
    (["--no-shadows-marked"], {"shadows_marked": False}),
    (["--has-alt-mask"], {"has_alt_mask": True}),
    (["--no-has-alt-mask", "--difficulty", "5", "--time", "2018"], {"has_alt_mask": False, "difficulty": 5}),
]


def test_subcommands_that_look_at_scenes_share_the_options() -> None:
    takers = {
        name
        for name, command in COMMANDS.items()
        if set(OPTIONS) <= {option for parameter in command.params for option in parameter.opts}
    }
    assert takers == {"select", "fractions", "gallery", "stats", "evaluate", "export"}


@pytest.mark.parametrize(("line", "conditions"), CONDITIONS, ids=" ".join)
def test_an_option_is_a_condition_of_select(
    store: Path, opened: xr.Dataset, line: list[str], conditions: dict, run: Callable[..., Answer]
) -> None:
    chosen = opened.clouds.select(**conditions)
    assert 0 < chosen.sizes["scene"] < 10
    assert run("select", store, "--ids", *line) == Answer(0, "".join(f"{scene}\n" for scene in chosen.scene.values), "")


def test_expression_and_options_hold_together(store: Path, opened: xr.Dataset, run: Callable[..., Answer]) -> None:
    answer = run("select", store, "thin or cirrus", "--where", "cumulus", "--time", "2018-03/2018-12", "--ids")
    expected = opened.clouds.select("(thin or cirrus) and cumulus", time=("2018-03", "2018-12"))
    assert answer.out.split() == list(expected.scene.values) != []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--difficulty", "7"], "difficulty 7 is none of 1, 2, 3, 4, 5"),
        (["--dataset", "TRAIN"], "dataset 'TRAIN' is none of 'MAIN'"),
        (["--bbox", "1,2,3"], "has 3 values; expected (west, south, east, north)"),
        (["--bbox", "a,b,c,d"], "is not (west, south, east, north) in degrees"),
        (["--time", "soon"], "'soon' is no date"),
        (["--where", "season == 'DJF'"], "no season is called 'DJF'"),
        (["forest/jungle"], "put this published name into backticks: `forest/jungle`"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_condition_is_one_message(
    store: Path, line: list[str], message: str, run: Callable[..., Answer]
) -> None:
    assert run("select", store, *line).is_one_message(message)


@pytest.mark.slow
def test_other_subcommands_look_at_the_same_scenes(
    store: Path, opened: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    line = ["--time", "2018-03/2018-08", "--bbox=-180,-90,180,60", "--no-has-alt-mask"]
    scenes = set(
        opened.clouds.select(time=("2018-03", "2018-08"), bbox=(-180, -90, 180, 60), has_alt_mask=False).scene.values
    )
    assert 0 < len(scenes) < 10
    out = run("fractions", store, *line).out
    assert {scene for scene in opened.scene.values if scene in out} == scenes
    assert run("gallery", store, tmp_path / "g.png", *line).out.startswith(f"picture of {len(scenes)} scenes")
    assert f"all {len(scenes)} " in " ".join(run("stats", store, *line).out.split())
    for form in ("png", "zarr"):
        answer = run("export", store, tmp_path / form, "--format", form, *line)
        assert answer.out.startswith(f"{len(scenes)} scenes in ")
    (tmp_path / "predictions").mkdir()
    for scene in scenes:
        np.save(tmp_path / "predictions" / f"{scene}.npy", np.zeros((64, 64), np.uint8))
    answer = run("evaluate", store, tmp_path / "predictions", *line, "--json", tmp_path / "e.json", "--resamples", "1")
    settings = strict_json(tmp_path / "e.json")["settings"]
    assert (settings["time"], settings["bbox"]) == ("2018-03/2018-08", "-180, -90, 180, 60")
    assert settings["has_alt_mask"] == "False"


@pytest.mark.slow
def test_a_colon_crosses_questions(store: Path, opened: xr.Dataset, run: Callable[..., Answer]) -> None:
    answer = run("stats", store, "--by", "split", "--by", "snow_ice:season", width=200)
    table = tables.prevalence_table(opened.clouds.prevalence(["split", ("snow_ice", "season")]).compute())
    assert (answer.code, answer.err) == (0, "")
    assert shows(answer.out, table)
    assert "not snow_ice × season=winter" in answer.out
    assert run("stats", store, "--by", "snow_ice:seasn").is_one_message(
        "no question 'seasn' to ask by; did you mean season"
    )


def test_select_writes_every_coordinate(
    store: Path, opened: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    files = {name: tmp_path / f"scenes.{name}" for name in ("json", "csv", "geojson")}
    line = [word for name, file in files.items() for word in (f"--{name}", file)]
    answer = run("select", store, "--split", "train", *line)
    assert answer.code == 0
    assert "7 scenes" in answer.out
    assert answer.out.endswith("".join(f"written: {file}\n" for file in files.values()))
    chosen = opened.clouds.select(split="train")
    frame = pd.DataFrame({name: c.values for name, c in chosen.coords.items() if c.dims == ("scene",)})
    as_json, as_csv, features = (
        strict_json(files["json"]),
        read_csv(files["csv"]),
        geopandas.read_file(files["geojson"]),
    )
    for rows in (as_json, as_csv):
        assert list(rows[0]) == ["scene", *(name for name in frame if name != "scene")]
        assert [row["time"] for row in rows] == [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in frame["time"]]
    for name in frame.columns.drop("time"):
        assert [row[name] for row in as_json] == [None if pd.isna(value) else value for value in frame[name].tolist()]
        assert [row[name] for row in as_csv] == ["" if pd.isna(value) else str(value) for value in frame[name].tolist()]
    assert features.crs.to_epsg() == 4326
    assert list(features.scene) == list(frame["scene"])
    assert features.cloud_percent.tolist() == frame["cloud_percent"].tolist()
    expected = chosen.clouds.footprints()
    assert features.geometry.geom_equals_exact(expected.geometry.reset_index(drop=True), 1e-9).all()


def test_files_are_written_beside_ids_and_for_no_scene(store: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    names = ("json", "csv", "geojson")
    line = [word for name in names for word in (f"--{name}", tmp_path / name)]
    assert run("select", store, "thin and not thin", "--ids", *line) == Answer(0, "", "")
    assert strict_json(tmp_path / "json") == []
    assert (tmp_path / "csv").read_text().startswith("scene,index,difficulty,")
    assert json.loads((tmp_path / "geojson").read_text()) == {"type": "FeatureCollection", "features": []}
    answer = run("select", store, "--json", tmp_path / "nowhere" / "a.json")
    assert answer.is_one_message("a.json cannot be written: there is no folder")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.slow
def test_product_ids_are_never_broken(store: Path, opened: xr.Dataset, width: int, run: Callable[..., Answer]) -> None:
    for line in (["select", store], ["fractions", store], ["select", store, "--ids"]):
        words = run(*line, width=width).out.split()
        assert [word for word in words if word.startswith("S2")] == list(opened.scene.values)
    table = run("select", store, width=width).out
    for i, scene in enumerate(opened.scene.values):
        (row,) = (line for line in table.splitlines() if scene in line)
        assert row.split()[3] == str(opened.time.values[i])[:10], "the other columns are there too"


@pytest.mark.slow
def test_product_ids_are_whole_as_strata_too(store: Path, opened: xr.Dataset, run: Callable[..., Answer]) -> None:
    words = run("stats", store, "--by", "scene", "--by", "scene:split", width=40).out.split()
    found = [word for word in words if word.startswith("S2")]
    assert found == [*opened.scene.values, *opened.scene.values]
