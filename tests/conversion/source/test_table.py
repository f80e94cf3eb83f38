"""The published table: its form does not matter, every column and value that is not as published is reported."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.conversion.source.tables import read_table
from s2cmc.errors import ReleaseError
from s2cmc.schema.catalogue import TABLE_COLUMNS
from s2cmc.synthetic.table import sample_table

TABLE = sample_table(4)


def csv(**changed: object) -> bytes:
    """The table as published; a keyword gives one column other values."""
    return TABLE.assign(**changed).to_csv(index=False, lineterminator="\n").encode()


def test_a_table_keeps_the_published_columns_in_order() -> None:
    table = read_table(csv(), "t.csv")
    assert tuple(table.columns) == TABLE_COLUMNS
    assert table["snow/ice"].dtype == table["shadows_marked"].dtype == bool
    assert (table["difficulty"].dtype, table["cloud_percent"].dtype) == ("uint8", "float64")
    assert (table.to_numpy() == TABLE.to_numpy()).all()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + csv(),
        csv().replace(b"\n", b"\r\n"),
        csv().rstrip(),
        TABLE[list(reversed(TABLE_COLUMNS))].to_csv(index=False).encode(),
        csv().replace(b"MAIN", b'"MAIN"').replace(b",1,", b", 1 ,"),
    ],
    ids=["byte order mark", "CRLF", "no last newline", "other order of columns", "quotes and spaces"],
)
def test_the_form_of_a_table_does_not_matter(content: bytes) -> None:
    pd.testing.assert_frame_equal(read_table(content, "t.csv"), read_table(csv(), "t.csv"))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 100), min_size=4, max_size=4))
def test_percentages_are_exact_to_the_bit(percent: list[float]) -> None:
    table = read_table(csv(cloud_percent=[repr(value) for value in percent]), "t.csv")
    assert table["cloud_percent"].to_numpy().tobytes() == np.array(percent).tobytes()


def test_every_column_that_is_missing_or_unknown_is_reported() -> None:
    content = csv().replace(b"cirrus", b"cirrhus")
    with pytest.raises(ReleaseError, match=r"t\.csv does not have the 33 published columns") as error:
        read_table(content.replace(b"annotator", b"scene"), "t.csv")
    assert error.value.problems[:2] == ("missing column 'annotator'", "missing column 'cirrus'")
    assert len(error.value.problems) == 4
    assert "unknown column 'cirrhus', which a store could not keep" in error.value.problems


def test_every_wrong_value_is_reported_with_line_and_column() -> None:
    content = csv(
        cirrus=["0", "yes", "1", ""],
        shadows_marked=["True", "1", "1", "0"],
        cloud_percent=["nan", "100.1", "-1", "1e2"],
        difficulty=["1", "2.0", "256", "5"],
        annotator=["A", "B", " ", "A"],
        index=["0", "1", "2", "-3"],
    )
    with pytest.raises(ReleaseError, match=r"t\.csv cannot be read as the published table") as error:
        read_table(content, "t.csv")
    assert sorted(error.value.problems) == [
        "line 2, column 'cloud_percent': 'nan' is no percentage from 0 to 100",
        "line 2, column 'shadows_marked': 'True' is neither 0 nor 1",
        "line 3, column 'cirrus': 'yes' is neither 0 nor 1",
        "line 3, column 'cloud_percent': '100.1' is no percentage from 0 to 100",
        "line 3, column 'difficulty': '2.0' is no whole number from 0 to 255",
        "line 4, column 'annotator': ' ' is empty; expected text",
        "line 4, column 'cloud_percent': '-1' is no percentage from 0 to 100",
        "line 4, column 'difficulty': '256' is no whole number from 0 to 255",
        "line 5, column 'cirrus': '' is neither 0 nor 1",
        "line 5, column 'index': '-3' is no whole number from 0 to 2147483647",
    ]


def test_a_scene_has_one_row() -> None:
    first, second = TABLE["scene"][:2]
    with pytest.raises(ReleaseError, match="cannot be read as the published table") as error:
        read_table(csv(scene=[first, second, second, first]), "t.csv")
    assert set(error.value.problems) == {f"scene {first} has several rows", f"scene {second} has several rows"}


@pytest.mark.parametrize(
    "change", [lambda row: row + b",1", lambda row: row.rpartition(b",")[0]], ids=["long", "short"]
)
@pytest.mark.parametrize("rows", [slice(1, None), slice(3, 4)], ids=["all", "one"])
def test_a_row_has_as_many_values_as_the_header(change: Callable[[bytes], bytes], rows: slice) -> None:
    lines = csv().splitlines()
    lines[rows] = [change(line) for line in lines[rows]]
    with pytest.raises(ReleaseError, match=r"(?s)t\.csv (cannot be read as|is not a readable CSV).*line 4"):
        read_table(b"\n".join(lines), "t.csv")


@pytest.mark.parametrize("content", [b"", csv().decode().encode("utf-16"), b"\xff" + csv(), b'"' + csv()])
def test_what_is_no_csv_is_an_error(content: bytes) -> None:
    with pytest.raises(ReleaseError, match=r"t\.csv (is not a readable CSV|does not have the 33 published columns)"):
        read_table(content, "t.csv")


def test_a_table_without_rows_is_an_error() -> None:
    with pytest.raises(ReleaseError, match=r"t\.csv has no rows"):
        read_table(csv().splitlines()[0], "t.csv")
