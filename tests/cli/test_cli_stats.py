"""The command stats: it shows and writes the numbers of the accessor."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
from helpers.answers import Answer
from helpers.output import differences, is_same, read_csv, shows, strict_json

from s2cmc.report import pages, tables

pytestmark = pytest.mark.slow

BY = ["--by", "difficulty", "--by", "cirrus"]
QUESTIONS = ["difficulty", "cirrus"]


def test_stats_shows_the_numbers_of_the_accessor(store: Path, opened: xr.Dataset, run: Callable[..., Answer]) -> None:
    answer = run("stats", store)
    assert (answer.code, answer.err) == (0, "")
    agreement = opened.clouds.agreement()
    for title, table in {
        "class prevalence, % of the labelled pixels": tables.prevalence_table(
            opened.clouds.prevalence(["dataset", "surface_type", "cloud_type"]).compute()
        ),
        "difficulty": tables.share_table(opened.clouds.difficulty()),
        "tags": tables.share_table(opened.clouds.tag_frequencies()),
        "annotator B against annotator A": tables.class_table(agreement).drop(
            columns=["class", "groups", "IoU", "bal.acc."]
        ),
        "cloud or not": tables.overall_table(agreement, intervals=False).drop(columns="groups"),
    }.items():
        assert title in answer.out
        assert shows(answer.out, table)


@pytest.mark.slow
def test_stats_asks_by_several_questions_on_the_scenes_that_are_left(
    store: Path, opened: xr.Dataset, run: Callable[..., Answer]
) -> None:
    answer = run("stats", store, *BY, "--where", "difficulty > 1", "--split", "test")
    assert (answer.code, answer.err) == (0, "")
    left = opened.clouds.select("difficulty > 1", split="test")
    table = tables.prevalence_table(left.clouds.prevalence(QUESTIONS).compute())
    assert table["scenes"].iloc[0] == str(left.sizes["scene"]) != "10"
    assert shows(answer.out, table)
    prevalence = answer.out.split("annotator B against")[0]
    assert "dataset=" not in prevalence, "nobody asked for that"
    assert shows(answer.out, tables.overall_table(left.clouds.agreement(), intervals=False).drop(columns="groups"))


def test_stats_says_that_no_scene_is_doubly_annotated(store: Path, run: Callable[..., Answer]) -> None:
    answer = run("stats", store, "--split", "train")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith("\nno scene here has masks of both annotators\n")


def test_stats_writes_every_number_as_csv_and_json(
    store: Path, opened: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]
) -> None:
    as_json, as_csv = tmp_path / "statistics.json", tmp_path / "statistics.csv"
    answer = run("stats", store, *BY, "--json", as_json, "--csv", as_csv)
    assert answer.code == 0
    assert answer.out.endswith(f"\nwritten: {as_json}\nwritten: {as_csv}\n")
    tables = _tables(opened)
    _check_long_csv(as_csv, tables)
    found = strict_json(as_json)
    assert list(found) == list(tables)
    undefined = [(row["stratum"], row["mask_class"]) for row in found["agreement"] if row["f1"] is None]
    assert undefined == [
        *(("dataset=MAIN", name) for name in ("clear", "cloud", "cloud_shadow")),  # of which none is doubly annotated
        *(("dataset=CALIBRATION", name) for name in ("clear", "cloud_shadow")),
    ]
    for name, table in tables.items():
        assert differences(found[name], table) == []


def _tables(catalogue: xr.Dataset) -> dict[str, xr.Dataset]:
    """All tables of a catalogue, each from the accessor."""
    return {
        "prevalence": catalogue.clouds.prevalence(QUESTIONS).compute(),
        "difficulty": catalogue.clouds.difficulty(),
        "tags": catalogue.clouds.tag_frequencies(),
        "tag_cooccurrence": catalogue.clouds.tag_cooccurrence().to_dataset(),
        "agreement": catalogue.clouds.agreement(),
    }


def _check_long_csv(file: Path, tables: dict[str, xr.Dataset]) -> None:
    """All tables in one, a line for each cell."""
    found = read_csv(file)
    assert list(found[0]) == ["table", "row", "column", "value"]
    cells = {(line["table"], line["row"], line["column"]): line["value"] for line in found}
    assert len(cells) == len(found)
    expected = {}
    for name, table in tables.items():
        for key, row in table.reset_coords(drop=True).to_dataframe().iterrows():
            label = " / ".join(map(str, key)) if isinstance(key, tuple) else str(key)
            expected |= {(name, label, column): value for column, value in row.items()}
    assert set(cells) == set(expected)
    for cell, value in expected.items():
        assert is_same(cells[cell], value), cell


@pytest.mark.slow
def test_stats_writes_a_page(store: Path, opened: xr.Dataset, tmp_path: Path, run: Callable[..., Answer]) -> None:
    file = tmp_path / "statistics.html"
    assert run("stats", store, *BY, "--html", file).code == 0
    text, statistics = file.read_text(encoding="utf-8"), _tables(opened)
    for shown in (
        tables.prevalence_table(statistics["prevalence"]),
        tables.share_table(statistics["difficulty"]),
        tables.share_table(statistics["tags"]),
        tables.class_table(statistics["agreement"]),
        tables.overall_table(statistics["agreement"]),
    ):
        assert pages.table(shown) in text


@pytest.mark.slow
def test_80_columns_hold_every_row_of_stats(store: Path, opened: xr.Dataset, run: Callable[..., Answer]) -> None:
    answer = run("stats", store, "--by", "cloud_type", width=80)
    assert "…" not in answer.out
    assert shows(answer.out, tables.prevalence_table(opened.clouds.prevalence("cloud_type").compute()))
    assert shows(answer.out, tables.share_table(opened.clouds.tag_frequencies()))
    assert shows(answer.out, tables.overall_table(opened.clouds.agreement(), intervals=False).drop(columns="groups"))
