"""The cells of a table (CSV) as a spreadsheet may have left it: other separators, empty rows and columns, numbering."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from s2cmc.schema import TABLE_COLUMNS

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_BLANK = " \n"
_MAX_COLUMNS = 2 * len(TABLE_COLUMNS) + 1
_MAX_LINE = 100_000  # characters
_MAX_ROWS = 100_000
_PERCENTAGES = ("clear_percent", "cloud_percent", "shadow_percent")
_UNNAMED = re.compile(r"(Unnamed: \d+)?")  # as pandas names a column without a name, such as that of its row labels


@dataclass(frozen=True)
class Cells:
    """The text of the cells of a table, without empty rows and without columns that have no name.

    Attributes
    ----------
    text : DataFrame of str
        Columns as they are named; rows by their line in the file, from 1. No cell begins or ends with a space.
    decimal : {".", ","}
        Decimal sign of its numbers.
    notes : tuple of str
        What was read otherwise than the published table; one line each.
    """

    text: pd.DataFrame
    decimal: str
    notes: tuple[str, ...]


def read_cells(content: bytes) -> Cells:
    """Read the cells of a table; separator and decimal sign are found out.

    Parameters
    ----------
    content : bytes
        UTF-8, with or without a byte order mark.

    Raises
    ------
    ValueError
        If the content is no table, two columns have one name, values have none, or a row or the table is too long.
    """
    first = next((line for line in _lines(content) if line.strip("".join(_SEPARATORS) + _BLANK)), "")
    separator = max(_SEPARATORS, key=first.count)
    lines = dict(_split(content, separator))
    filled = [line for line, cells in lines.items() if any(cells)]
    columns, notes = _name_columns({line: lines[line] for line in filled})
    table = pd.DataFrame(columns, index=filled[1:], dtype=object)
    percentages = [name for name in _PERCENTAGES if name in table]
    decimal = "," if any(table[name].str.fullmatch(r"\d+,\d+").any() for name in percentages) else "."
    if (separator, decimal) != (",", "."):
        numbers = " with decimal commas" if decimal == "," else ""
        notes.insert(0, f"read as {_SEPARATORS[separator]}-separated{numbers}")
    if first.rstrip(_BLANK).endswith(separator):
        notes.append("empty columns at its end are left out")
    if len(filled) < len(lines):
        notes.append(f"{len(lines) - len(filled)} empty rows are left out")
    return Cells(table, decimal, tuple(notes))


def _name_columns(lines: Mapping[int, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the cells of every column that the first line names, and notes about the others."""
    columns: dict[str, list[str]] = {}
    notes = []
    names, *rows = lines.values() or [[]]
    for line, cells in lines.items():
        if len(cells) > len(names):
            raise ValueError(f"line {line} has {len(cells)} values; the first line names {len(names)} columns")
    for i, name in enumerate(names):
        cells = [row[i] if i < len(row) else "" for row in rows]
        if not _UNNAMED.fullmatch(name):
            if name in columns:
                raise ValueError(f"column {name[:80]!r} is there twice")
            columns[name] = cells
        elif not any(cells):
            notes.append(f"column {i + 1} is left out: it has no name and no values")
        elif all(re.fullmatch(r"\d+", cell) for cell in cells):
            notes.append(f"column {i + 1} ({name or 'without a name'}) is left out: it only numbers the rows")
        else:
            raise ValueError(f"column {i + 1} has values, but no name")
    return columns, notes


def _lines(content: bytes) -> Iterator[str]:
    """Yield the lines as text; a line that is too long is an error before memory is taken for it."""
    file = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=None)
    try:
        for number, line in enumerate(iter(partial(file.readline, _MAX_LINE), ""), start=1):
            if len(line) == _MAX_LINE:
                raise ValueError(f"line {number} has {_MAX_LINE:,} characters or more")
            yield line
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.object[error.start]:#04x})") from error


def _split(content: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line that is not blank, without empty cells at its end."""
    rows = 0
    for number, line in enumerate(_lines(content), start=1):
        # A spreadsheet ends lines with separators of empty columns.
        filled = line.rstrip(_BLANK + separator)
        if (values := filled.count(separator) + 1) > _MAX_COLUMNS:
            raise ValueError(f"line {number} has {values} values; expected {len(TABLE_COLUMNS)}")
        if line.count('"') % 2:
            raise ValueError(f"line {number} ends within quotation marks")
        if not line.strip(_BLANK):
            continue
        rows += 1
        if rows > _MAX_ROWS:
            raise ValueError(f"it has more than {_MAX_ROWS:,} rows")
        try:
            cells = next(csv.reader([filled], delimiter=separator), [])
        except csv.Error as error:
            raise ValueError(f"line {number}: {error}") from error
        yield number, [cell.strip() for cell in cells]
