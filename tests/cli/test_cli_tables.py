"""The tables of the command hold the right numbers."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console
from rich.table import Table

from s2cmc.cli import _tables
from s2cmc.store import open_group


def _cells(table: Table) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


@pytest.mark.usefixtures("no_compute")
def test_overview_states_the_facts(store: Path, catalogue: xr.Dataset) -> None:
    facts, _ = _tables.overview(open_group(store))
    found = dict(_cells(facts))
    assert "synthetic" in str(facts.title).lower()
    groups = len(set(catalogue.group.values))
    assert found["scenes"] == f"10, in {groups} independent groups"
    assert found["pixels"] == "64 x 64 of 20 m, 13 bands"
    assert found["time"] == f"{str(catalogue.time.values.min())[:10]} to {str(catalogue.time.values.max())[:10]}"
    assert found["datasets"] == "MAIN 7, VALIDATION 2, CALIBRATION 1"
    counts = [f"{name} {int((catalogue.annotator == name).sum())}" for name in ("A", "B")]
    assert found["annotators"] == ", ".join(counts)
    counts = [f"{number} {int((catalogue.difficulty == number).sum())}" for number in range(1, 6)]
    assert found["difficulty"] == ", ".join(counts)
    assert found["shadows marked"] == str(int(catalogue.shadows_marked.sum()))
    assert found["second mask"] == str(int(catalogue.has_alt_mask.sum()))
    # One quirk changes the mask of a scene, one takes pixels of another out of their class.
    assert found["not percentages_agree"] == "2"
    assert found["not tags_consistent"] == "1"
    assert found["not shadows_consistent"] == "1"
    assert "license" not in found, "nobody's data"


@pytest.mark.usefixtures("no_compute")
def test_overview_counts_every_tag(store: Path, catalogue: xr.Dataset) -> None:
    _, frequencies = _tables.overview(open_group(store))
    found = dict(_cells(frequencies))
    assert list(found) == list(catalogue.clouds.tag_groups)
    for group, names in catalogue.clouds.tag_groups.items():
        assert found[group] == ", ".join(f"{name} {int(catalogue[name].sum())}" for name in names)


@pytest.mark.usefixtures("no_compute")
def test_scenes_has_one_row_for_each(catalogue: xr.Dataset) -> None:
    table = _tables.scenes(catalogue)
    assert table.title == "10 scenes"
    for i, (scene, date, difficulty, cloud, tags) in enumerate(_cells(table)):
        one = catalogue.isel(scene=i)
        assert scene == one.scene.item()
        assert date == str(one.time.values)[:10]
        assert difficulty == str(one.difficulty.item())
        assert cloud == f"{one.cloud_percent.item():.1f}"
        names = [name for names in catalogue.clouds.tag_groups.values() for name in names]
        assert set(filter(None, tags.split(", "))) == {name for name in names if one[name]}


def test_fractions_are_percent_with_their_mean(catalogue: xr.Dataset) -> None:
    fractions = catalogue.clouds.class_fractions().compute()
    *rows, mean = _cells(_tables.fractions(fractions))
    assert [row[0] for row in rows] == list(catalogue.scene.values)
    shown = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(shown, 100 * fractions, atol=0.005001)
    assert mean[0] == "mean of 10 scenes"
    np.testing.assert_allclose(np.array(mean[1:], float), 100 * fractions.mean("scene"), atol=0.005001)


def test_tables_of_no_scene_are_empty(catalogue: xr.Dataset) -> None:
    nothing = catalogue.clouds.select("difficulty > 5")
    assert _cells(_tables.scenes(nothing)) == []
    assert _tables.scenes(nothing).title == "0 scenes"
    assert _cells(_tables.fractions(nothing.clouds.class_fractions().compute())) == []


def _shown(frame: pd.DataFrame, width: int) -> list[str]:
    """Lines of a frame in a terminal of `width` columns, below title and header."""
    console = Console(width=width, file=io.StringIO())
    console.print(_tables.frame(frame, "title"))
    title, header, *lines = console.file.getvalue().splitlines()
    assert title.strip() == "title"
    assert header.split() == list(frame.columns)
    return lines


def test_only_the_first_column_of_a_frame_folds() -> None:
    names = ["altocumulus_stratocumulus", "cirrus"]
    numbers = {f"column{i}": [f"0.{i}2345678", "-"] for i in range(6)}
    lines = _shown(pd.DataFrame({"stratum": names} | numbers), 80)
    assert all(len(line) <= 80 for line in lines)
    *folded, last = lines
    assert "".join(line.split()[0] for line in folded) == names[0]
    assert folded[0].split()[1:] == [f"0.{i}2345678" for i in range(6)]
    assert last.split() == ["cirrus", *"------"]


def test_a_frame_stays_in_one_line_where_there_is_room() -> None:
    frame = pd.DataFrame({"stratum": ["altocumulus_stratocumulus"], "n": ["1"]})
    assert [line.split() for line in _shown(frame, 80)] == [["altocumulus_stratocumulus", "1"]]
    assert _tables.frame(frame, "title").columns[1].justify == "right"


@pytest.mark.parametrize("name", ["[bold]x", "[/b]", "0.5 [0.4, 0.6]"])
def test_a_frame_shows_its_text_as_it_is(name: str) -> None:
    (line,) = _shown(pd.DataFrame({"stratum": [name], "n": ["1"]}), 80)
    assert line.removesuffix("1").rstrip() == name
