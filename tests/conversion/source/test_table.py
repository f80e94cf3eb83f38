"""The published table: its form does not matter, every column and value that is not as published is reported."""

import io
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.conversion.source.tables import read_table
from s2cmc.errors import ReleaseError
from s2cmc.schema.catalogue import TABLE_COLUMNS, TAGS
from s2cmc.synthetic.table import sample_table

TABLE = sample_table(4)


def csv(**changed: object) -> bytes:
    """The table as published; a keyword gives one column other values."""
    return TABLE.assign(**changed).to_csv(index=False, lineterminator="\n").encode()


def rows(content: bytes, **options: bool) -> pd.DataFrame:
    return read_table(content, "t.csv", **options).rows


def test_a_table_keeps_the_published_columns_in_order() -> None:
    assert read_table(csv(), "t.csv").notes == ()
    table = rows(csv())
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
    table = read_table(content, "t.csv")
    pd.testing.assert_frame_equal(table.rows, rows(csv()))
    assert table.notes == ()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 100), min_size=4, max_size=4))
def test_percentages_are_exact_to_the_bit(percent: list[float]) -> None:
    table = rows(csv(cloud_percent=[repr(value) for value in percent]))
    assert table["cloud_percent"].to_numpy().tobytes() == np.array(percent).tobytes()


def test_every_column_that_is_missing_or_unknown_is_reported() -> None:
    content = csv().replace(b"cirrus", b"cirrhus").replace(b"annotator", b"labeller")
    with pytest.raises(ReleaseError, match=r"t\.csv does not have the 33 published columns") as error:
        read_table(content, "t.csv")
    assert error.value.problems == (
        "missing column 'annotator'",
        "missing column 'cirrus'",
        "2 unknown columns: 'labeller', 'cirrhus'; use --keep-columns (keep_columns=True) to keep columns of your own "
        "as coordinates",
    )
    with pytest.raises(ReleaseError, match="8 missing columns: scene, difficulty"):
        read_table(TABLE.iloc[:, 9:].to_csv(index=False).encode(), "t.csv")


def test_a_column_that_is_there_twice_is_one_line() -> None:
    with pytest.raises(ReleaseError, match=r"t\.csv is not a readable CSV: column 'scene' is there twice") as error:
        read_table(csv().replace(b"annotator", b"scene"), "t.csv")
    assert error.value.problems == ()


@pytest.mark.parametrize("separator", ["|", ":", " "])
def test_another_separator_is_one_line(separator: str) -> None:
    content = TABLE.to_csv(index=False, sep=separator).encode()
    with pytest.raises(ReleaseError, match=r"t\.csv has none of the 33 published columns; its first line has 'index"):
        read_table(content, "t.csv")


def test_every_wrong_value_is_reported_with_line_and_column() -> None:
    content = csv(
        cirrus=["0", "yes", "1", ""],
        shadows_marked=["wahr", "1", "1", "0"],
        cloud_percent=["nan", "100.1", "-1", "1e2"],
        difficulty=["1", "2.5", "256", "5"],
        annotator=["A", "B", "", "A"],
        index=["0", "1", "2", "-3"],
    )
    with pytest.raises(ReleaseError, match=r"t\.csv cannot be read as the published table") as error:
        read_table(content, "t.csv")
    assert sorted(error.value.problems) == [
        "line 2, column 'cloud_percent': 'nan' is no percentage from 0 to 100",
        "line 2, column 'shadows_marked': 'wahr' is neither 0 nor 1",
        "line 3, column 'cirrus': 'yes' is neither 0 nor 1",
        "line 3, column 'cloud_percent': '100.1' is no percentage from 0 to 100",
        "line 3, column 'difficulty': '2.5' is no whole number from 0 to 255",
        "line 4, column 'annotator': '' is empty; expected text",
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
    with pytest.raises(ReleaseError, match=r"(?s)t\.csv (cannot be read as|is not a readable CSV).*line [24]"):
        read_table(b"\n".join(lines), "t.csv")


@pytest.mark.parametrize("content", [b"", csv().decode().encode("utf-16"), b"\xff" + csv(), b'"' + csv()])
def test_what_is_no_csv_is_an_error(content: bytes) -> None:
    with pytest.raises(ReleaseError, match=r"t\.csv (is not a readable CSV|has none of the 33 published columns)"):
        read_table(content, "t.csv")


def test_a_table_without_rows_is_an_error() -> None:
    with pytest.raises(ReleaseError, match=r"t\.csv has no rows"):
        read_table(csv().splitlines()[0], "t.csv")


def test_many_values_that_are_wrong_in_one_way_are_one_line() -> None:
    content = csv(**{tag.published: "yes" for tag in TAGS})
    with pytest.raises(ReleaseError, match=r"t\.csv cannot be read as the published table") as error:
        read_table(content, "t.csv")
    assert error.value.problems == (
        "96 values are wrong in the same way; the first: line 2, column 'forest/jungle': 'yes' is neither 0 nor 1",
    )


FLAGS = [tag.published for tag in TAGS]
PERCENTAGES = ["clear_percent", "cloud_percent", "shadow_percent"]


def flags_as_words(table: pd.DataFrame) -> pd.DataFrame:
    return table.replace({name: {0: "FALSE", 1: "TRUE"} for name in FLAGS})


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], bytes], list[str]]] = {
    "semicolons and decimal commas": (
        lambda t: t.to_csv(index=False, sep=";", decimal=",").encode(),
        ["read as semicolon-separated with decimal commas"],
    ),
    "semicolons": (lambda t: t.to_csv(index=False, sep=";").encode(), ["read as semicolon-separated"]),
    "tabs": (lambda t: t.to_csv(index=False, sep="\t").encode(), ["read as tab-separated"]),
    "quoted decimal commas": (
        lambda t: t.to_csv(index=False, decimal=",").encode(),
        ["read as comma-separated with decimal commas"],
    ),
    "TRUE and FALSE": (
        lambda t: flags_as_words(t).to_csv(index=False).encode(),
        ["TRUE and FALSE are read as 1 and 0"],
    ),
    "whole numbers with decimals": (
        lambda t: t.astype(dict.fromkeys([*FLAGS, "index", "difficulty"], float)).to_csv(index=False).encode(),
        ["whole numbers such as 1.0 are read as 1"],
    ),
    "names of SAFE folders": (
        lambda t: t.assign(scene=t["scene"] + ".SAFE").to_csv(index=False).encode(),
        ["scenes are read without the .SAFE at their end"],
    ),
    "row labels of pandas": (
        lambda t: t.to_csv().encode(),
        ["column 1 (without a name) is left out: it only numbers the rows"],
    ),
    "row labels of pandas, read and written again": (
        lambda t: pd.read_csv(io.BytesIO(t.to_csv().encode())).to_csv(index=False).encode(),
        ["column 1 (Unnamed: 0) is left out: it only numbers the rows"],
    ),
    "no index": (
        lambda t: t.drop(columns="index").to_csv(index=False).encode(),
        ["column 'index' is missing, and made: 0 to 3"],
    ),
    "empty rows and columns": (
        lambda t: b"\n".join([line + b",,," for line in t.to_csv(index=False).encode().splitlines()] + [b"," * 90] * 2),
        ["empty columns at its end are left out", "2 empty rows are left out"],
    ),
    "an empty column in the middle": (
        lambda t: b"\n".join(
            [line.replace(b",", b",,", 1) for line in t.to_csv(index=False).encode().splitlines()] + [b""]
        ),
        ["column 2 is left out: it has no name and no values"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_spreadsheet_changes_is_read_and_told(change: str) -> None:
    """The table as published, after each change: the same values, and one line that says what was read otherwise."""
    write, notes = CHANGES[change]
    found = read_table(write(TABLE), "t.csv")
    pd.testing.assert_frame_equal(found.rows, rows(csv()))
    assert list(found.notes) == notes


def test_all_changes_at_once() -> None:
    table = flags_as_words(TABLE.assign(scene=TABLE["scene"] + ".SAFE").drop(columns="index"))
    text = table.to_csv(sep=";", decimal=",", lineterminator="\n") + ";;;;\n"
    found = read_table(text.replace("\n", ";;\r\n").encode("utf-8-sig"), "t.csv")
    pd.testing.assert_frame_equal(found.rows, rows(csv()))
    assert len(found.notes) == 7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (csv().decode().encode("utf-16"), r"it is not UTF-8 \(byte 0xff\)"),
        (csv().replace(b"cirrus", b"cirr\xfcs"), "it is not UTF-8"),
        (
            csv().replace(b"\n", b",x\n").replace(b"contrails,x", b"contrails,"),
            "column 34 has values, but no name|line 2 has 34",
        ),
        (csv().replace(b"cirrus,", b",", 1), "column 30 has values, but no name|does not have"),
        (b"a," * 80 + b"a\n", "line 1 has 81 values; expected 33"),
        (csv() + b"a\n" * 100_001, "it has more than 100,000 rows"),
    ],
)
def test_what_is_not_plain_is_one_line(content: bytes, said: str) -> None:
    with pytest.raises(ReleaseError, match=rf"t\.csv .*({said})"):
        read_table(content, "t.csv")


OWN = {
    "sun glint": ["1", "0", "TRUE", "FALSE"],
    "reviewers": ["3", "0", "12", "-1"],
    "glint %": ["0.25", "", "1e-3", "7"],
    "note": ["good", "", "see, 'A'", "007"],
    "code": ["007", "008", "1", "2"],
}


def test_columns_of_the_user_are_kept_as_what_they_hold() -> None:
    table = rows(csv(**OWN), keep_columns=True)
    assert tuple(table.columns) == (*TABLE_COLUMNS, *OWN)
    pd.testing.assert_frame_equal(table[list(TABLE_COLUMNS)], rows(csv()))
    assert table["sun glint"].tolist() == [True, False, True, False]
    assert table["reviewers"].tolist() == [3, 0, 12, -1]
    np.testing.assert_array_equal(table["glint %"], [0.25, np.nan, 0.001, 7])
    assert table["note"].tolist() == OWN["note"]
    assert table["code"].tolist() == OWN["code"]
    assert [table[name].dtype.kind for name in OWN] == ["b", "i", "f", "O", "O"]


def test_without_the_flag_one_line_names_it() -> None:
    with pytest.raises(ReleaseError, match="does not have the 33 published columns") as error:
        read_table(csv(**OWN), "t.csv")
    (line,) = error.value.problems
    assert line.startswith("5 unknown columns: 'sun glint', 'reviewers', 'glint %', 'note', 'code'; use --keep-columns")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["time"], "column 'time' would be the coordinate 'time', which is another one; rename it"),
        (["snow ice"], "column 'snow ice' would be the coordinate 'snow_ice', which is another one"),
        (["Mask"], "column 'Mask' would be the coordinate 'Mask', which is another one"),
        (["2nd look"], "column '2nd look' cannot be a coordinate of the scenes; rename it"),
        (["class"], "column 'class' cannot be a coordinate"),
        (["n" * 101], "column 'n{100}' cannot be a coordinate"),
        (["a b", "A-B"], "columns 'a b' and 'A-B' would be one coordinate; rename one"),
    ],
)
def test_a_name_that_no_coordinate_can_have_is_an_error(names: list[str], said: str) -> None:
    with pytest.raises(ReleaseError, match="does not have") as error:
        read_table(csv(**dict.fromkeys(names, "1")), "t.csv", keep_columns=True)
    (line,) = error.value.problems
    assert re.match(said, line)


def test_text_that_is_too_long_is_an_error() -> None:
    with pytest.raises(ReleaseError, match="cannot be read") as error:
        read_table(csv(note=["x" * 1001, "", "", ""]), "t.csv", keep_columns=True)
    assert error.value.problems[0].endswith("is longer than 1,000 characters")
