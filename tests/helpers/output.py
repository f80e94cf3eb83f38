"""What a command shows and writes, beside what it should."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr


def shows(text: str, frame: pd.DataFrame) -> bool:
    """Every row of a frame stands in one line, whole; only its first cell may be folded into several lines."""
    lines = [line.split() for line in text.splitlines()]
    rows = [" ".join(row[1:]).split() for row in frame.astype(str).to_numpy().tolist()]
    return all(any(line[-len(row) :] == row for line in lines) for row in rows)


def differences(found: list[dict[str, Any]], table: xr.Dataset) -> list[tuple[str, object, object]]:
    """Where records, of JSON or of text as CSV has it, do not hold a number of a table to the last bit."""
    expected = table.to_dataframe().reset_index().to_dict("records")
    assert [list(row) for row in found] == [list(row) for row in expected]
    return [
        (name, one[name], value)
        for one, row in zip(found, expected, strict=True)
        for name, value in row.items()
        if not is_same(one[name], value)
    ]


def is_same(found: object, value: object) -> bool:
    """A cell of a file holds a value: text, a number, or nothing for what is undefined."""
    if isinstance(value, str):
        return found == value
    return found in (None, "") if pd.isna(value) else found not in (None, "") and float(found) == value


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def strict_json(file: Path) -> dict[str, Any]:
    """What any parser reads, not Python's alone, which knows NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
