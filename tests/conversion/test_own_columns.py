"""Columns of the user's own in the table: coordinates of the store, proved, described, and written back."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers.answers import Answer

import s2cmc
from s2cmc.conversion import convert, describe, export, forecast, publish, repair, restore, verify
from s2cmc.conversion.convert.plan import Options, make_plan
from s2cmc.conversion.source.listing import open_release
from s2cmc.errors import ReleaseError
from s2cmc.release import TABLE_FILE
from s2cmc.synthetic.make import make_release

OWN = {
    "sun glint": ["TRUE", "FALSE", "FALSE", "TRUE"],
    "reviewers": [3, 1, 0, 2],
    "glint/percent": ["12.5", "", "0.1", "7"],
    "note": ["good", "", "half, at most", "007"],
}
VALUES: dict[str, list[object]] = {
    "sun_glint": [True, False, False, True],
    "reviewers": [3, 1, 0, 2],
    "glint_percent": [12.5, np.nan, 0.1, 7.0],
    "note": ["good", "", "half, at most", "007"],
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 scenes of 16 x 16 pixels, and a table with columns of the user's own."""
    out = make_release(tmp_path_factory.mktemp("own") / "release", scenes=4, size=16)
    pd.read_csv(out / TABLE_FILE).assign(**OWN).to_csv(out / TABLE_FILE, index=False)
    return out


@pytest.fixture(scope="module")
def store(release: Path) -> Path:
    convert(release, release.parent / "store.zarr", keep_columns=True)
    return release.parent / "store.zarr"


def check_values(catalogue: xr.Dataset) -> None:
    for name, values in VALUES.items():
        assert catalogue[name].dims == ("scene",)
        assert name in catalogue.coords
        np.testing.assert_array_equal(catalogue[name].values, np.array(values))
    assert [catalogue[name].dtype.kind for name in VALUES] == ["b", "i", "f", "U"]


def test_they_are_coordinates_along_scene(store: Path) -> None:
    catalogue = s2cmc.open_catalogue(store)
    check_values(catalogue)
    assert catalogue["glint_percent"].attrs == {
        "long_name": "column 'glint/percent' of the user's own",
        "published_name": "glint/percent",
    }
    assert re.search(r"own columns +glint_percent, note, reviewers, sun_glint", repr(catalogue.clouds))
    check_values(xr.open_dataset(store, engine="s2cmc"))
    assert set(VALUES) <= set(xr.open_zarr(store).coords)


def test_they_are_selected_by(store: Path) -> None:
    catalogue = s2cmc.open_catalogue(store)
    for expression, positions in (
        ("sun_glint and reviewers > 2", [0]),
        ("`sun glint` or note == 'half, at most'", [0, 2, 3]),
        ("`glint/percent` < 8", [2, 3]),
    ):
        assert catalogue.clouds.select(expression)["index"].values.tolist() == positions


def test_without_the_flag_one_line_names_it(release: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    with pytest.raises(ReleaseError, match="cannot be converted: 1 errors") as error:
        convert(release, tmp_path / "store.zarr")
    assert [line for line in error.value.problems if "warning" not in line] == [
        f"{TABLE_FILE}: 4 unknown columns: 'sun glint', 'reviewers', 'glint/percent', 'note'; "
        "use --keep-columns (keep_columns=True) to keep columns of your own as coordinates"
    ]
    assert run("convert", release, tmp_path / "store.zarr").code == 1
    assert run("convert", release, tmp_path / "store.zarr", "--keep-columns").code == 0
    assert run("convert", release, tmp_path / "other.zarr", "--keep-columns", "--plan").code == 0
    assert forecast(release, keep_columns=True).metadata_objects == forecast_without_own(tmp_path) + 2 * len(OWN)


def forecast_without_own(tmp_path: Path) -> int:
    return forecast(make_release(tmp_path / "plain", scenes=4, size=16)).metadata_objects


def test_the_command_of_the_conversion_has_the_flag(release: Path) -> None:
    plan = make_plan(open_release(str(release), keep_columns=True), Options())
    assert "--keep-columns" in plan.command("store.zarr", None, {})


def test_verify_compares_them(release: Path, store: Path, tmp_path: Path) -> None:
    assert verify(store) == []
    assert verify(store, release) == []
    other = shutil.copytree(release, tmp_path / "release")
    table = pd.read_csv(other / TABLE_FILE)
    scene = table["scene"][1]
    table.assign(reviewers=[3, 5, 0, 2], more=1).drop(columns="note").to_csv(other / TABLE_FILE, index=False)
    assert verify(store, other) == [
        "column 'more' is only in the published table",
        "column 'note' is only in the store",
        f"{scene}: reviewers is 1 in the store and 5 in the published table",
    ]


@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_restore_writes_them_under_their_names(release: Path, store: Path, tmp_path: Path, layout: str) -> None:
    restore(store, tmp_path / "back", layout=layout)
    back = pd.read_csv(tmp_path / "back" / TABLE_FILE, dtype={"note": str}, keep_default_na=False)
    assert set(back.columns[33:]) == set(OWN)
    assert back["sun glint"].tolist() == [1, 0, 0, 1]
    assert back["glint/percent"].tolist() == ["12.5", "", "0.1", "7.0"]
    assert back["note"].tolist() == OWN["note"]
    assert verify(store, tmp_path / "back") == []


@pytest.mark.parametrize("form", ["npy", "zarr"])
def test_exports_keep_them(store: Path, tmp_path: Path, form: str) -> None:
    export(store, tmp_path / "out", where="reviewers >= 2", format=form)
    if form == "npy":
        convert(tmp_path / "out", tmp_path / "part.zarr", keep_columns=True)
    part = tmp_path / ("part.zarr" if form == "npy" else "out")
    catalogue = s2cmc.open_catalogue(part)
    assert catalogue["reviewers"].values.tolist() == [3, 2]
    assert catalogue["note"].values.tolist() == ["good", "007"]
    assert verify(part) == []


def test_publish_and_metadata_keep_them(store: Path, tmp_path: Path) -> None:
    publish(store, tmp_path / "public")
    check_values(s2cmc.open_catalogue(tmp_path / "public"))
    describe(store, tmp_path / "metadata")
    table = pd.read_parquet(tmp_path / "metadata" / "footprints.parquet")
    assert table["reviewers"].tolist() == VALUES["reviewers"]
    (scenes,) = (
        records
        for records in json.loads((tmp_path / "metadata" / "croissant.json").read_text())["recordSet"]
        if records["name"] == "scenes"
    )
    types = {field["name"]: field["dataType"] for field in scenes["field"]}
    assert [types[name] for name in VALUES] == ["sc:Boolean", "cr:Int64", "cr:Float64", "sc:Text"]


@pytest.mark.parametrize("damaged", ["note/c/0", "coordinates.zip", "note/zarr.json", "zarr.json", "mask/c/0/0/0"])
def test_repair_makes_them_again(release: Path, store: Path, tmp_path: Path, damaged: str) -> None:
    copy = shutil.copytree(store, tmp_path / "store.zarr")
    (copy / damaged).write_bytes(b"damaged")
    if damaged == "coordinates.zip":
        check_values(s2cmc.open_catalogue(copy))  # from the objects beside it
    done = repair(copy, release)
    assert damaged in done.rewritten
    assert (done.removed, done.foreign) == ((), ())
    for path in store.rglob("*"):
        if path.is_file() and (path.name, damaged) != ("zarr.json", "zarr.json"):  # its dates are lost with the root
            assert (copy / path.relative_to(store)).read_bytes() == path.read_bytes()


def test_a_table_from_a_spreadsheet_gives_the_same_store(release: Path, store: Path, tmp_path: Path) -> None:
    other = shutil.copytree(release, tmp_path / "release")
    table = pd.read_csv(other / TABLE_FILE, dtype={"note": str}).drop(columns="index")
    table.to_csv(other / TABLE_FILE, sep=";", decimal=",")
    report = convert(other, tmp_path / "store.zarr", keep_columns=True)
    assert [line for line in report.warnings if line.startswith(TABLE_FILE)] == [
        f"{TABLE_FILE}: read as semicolon-separated with decimal commas",
        f"{TABLE_FILE}: column 1 (without a name) is left out: it only numbers the rows",
        f"{TABLE_FILE}: column 'index' is missing, and made: 0 to 3",
    ]
    assert verify(tmp_path / "store.zarr", other) == []
    of_the_files = ("date_created", "history", "source_fingerprint", "source_table_md5")
    found, expected = (s2cmc.open_catalogue(path) for path in (tmp_path / "store.zarr", store))
    assert found.attrs["source_table_md5"] != expected.attrs["source_table_md5"]
    for catalogue in (found, expected):
        catalogue.attrs = {key: value for key, value in catalogue.attrs.items() if key not in of_the_files}
    assert found.identical(expected)
    restore(tmp_path / "store.zarr", tmp_path / "back")
    restore(store, tmp_path / "published")
    assert (tmp_path / "back" / TABLE_FILE).read_bytes() == (tmp_path / "published" / TABLE_FILE).read_bytes()
