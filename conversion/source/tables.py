"""Decode the published table (CSV) within bounds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.schema import (
    ANNOTATORS,
    DATASETS,
    DIFFICULTIES,
    TABLE_COLUMNS,
    TABLE_COORDINATES,
    own_coordinate,
)

from .spreadsheets import read_cells

_SHOWN = 5  # lines about what is wrong in the same way


@dataclass(frozen=True)
class Table:
    """The published table, and columns of the user's own behind those published.

    Attributes
    ----------
    rows : DataFrame
        Columns and order as published, tags and ``shadows_marked`` as bool; then the others, each as bool, int64,
        float64 or text.
    notes : tuple of str
        What was read otherwise than the published table; one line each.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]


def read_table(content: bytes, path: str, *, keep_columns: bool = False) -> Table:
    """Read the published table, also as a spreadsheet may have left it where its meaning is plain.

    Parameters
    ----------
    content : bytes
    path : str
        For messages.
    keep_columns : bool
        Keep columns that are not in the published table; otherwise they are an error.

    Raises
    ------
    ReleaseError
        With one line for every column or value that is not as expected; values that are wrong in one way share a line
        where there are many.
    """
    try:
        cells = read_cells(content)
    except ValueError as error:
        raise ReleaseError(f"{path} is not a readable CSV: {error}") from error
    text = cells.text
    if not set(TABLE_COLUMNS) & set(text):
        raise ReleaseError(
            f"{path} has none of the {len(TABLE_COLUMNS)} published columns; its first line has "
            f"{', '.join(map(_short, [*text][:_SHOWN])) or 'no names'}"
        )
    if text.empty:
        raise ReleaseError(f"{path} has no rows")
    text, notes = _as_published(text, cells.decimal)
    own = [str(name) for name in text if name not in TABLE_COLUMNS]
    if problems := _column_problems(text, own, keep_columns=keep_columns):
        raise ReleaseError(f"{path} does not have the {len(TABLE_COLUMNS)} published columns", problems)
    faults = _Faults()
    columns = {str(c.published): _parse_column(text[c.published], c.dtype, faults) for c in TABLE_COORDINATES}
    columns |= {name: _parse_own(text[name], cells.decimal, faults) for name in own}
    if problems := [*faults.lines(), *_repetition_problems(text["scene"])]:
        raise ReleaseError(f"{path} cannot be read as the published table", problems)
    return Table(pd.DataFrame(columns), (*cells.notes, *notes))


def read_scenes(content: bytes) -> pd.DataFrame | None:
    """Read only the scenes and datasets of a table that `read_table` refuses; None if these cannot be read either."""
    try:
        text, _ = _as_published(read_cells(content).text, ".")
    except ValueError:
        return None
    if text.empty or not {"scene", "dataset"} <= set(text):
        return None
    return text[["scene", "dataset"]].drop_duplicates("scene")


_FLAGS = tuple(str(c.published) for c in TABLE_COORDINATES if c.dtype == "bool")
_WHOLE = tuple(str(c.published) for c in TABLE_COORDINATES if c.dtype in ("int32", "uint8"))
_PERCENTAGES = tuple(str(c.published) for c in TABLE_COORDINATES if c.dtype == "float64")
_REWRITTEN: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    ("scenes are read without the .SAFE at their end", ("scene",), {r"\.SAFE/?$": ""}),
    ("TRUE and FALSE are read as 1 and 0", _FLAGS, {r"(?i)^true$": "1", r"(?i)^false$": "0"}),
    ("whole numbers such as 1.0 are read as 1", (*_FLAGS, *_WHOLE), {r"^(\d+)[.,]0+$": r"\1"}),
)
"""Changes that spreadsheets make in columns, and the pattern that makes each as published again."""


def _as_published(text: pd.DataFrame, decimal: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the text of the published columns as published, and notes about what was not."""
    text, notes = text.copy(), []
    for note, columns, patterns in _REWRITTEN:
        names = [name for name in columns if name in text]
        before = text[names]
        text[names] = before.replace(regex=patterns)
        if not text[names].equals(before):
            notes.append(note)
    if decimal == ",":
        names = [name for name in _PERCENTAGES if name in text]
        text[names] = text[names].replace(regex={",": "."})
    if "index" not in text:
        text["index"] = [str(i) for i in range(len(text))]
        notes.append(f"column 'index' is missing, and made: 0 to {len(text) - 1}")
    return text, notes


def _column_problems(text: pd.DataFrame, own: Sequence[str], *, keep_columns: bool) -> list[str]:
    missing = [f"missing column {name!r}" for name in TABLE_COLUMNS if name not in text]
    if len(missing) > _SHOWN:
        missing = [f"{len(missing)} missing columns: {', '.join(name for name in TABLE_COLUMNS if name not in text)}"]
    if keep_columns:
        return [*missing, *_name_problems(own)]
    if not own:
        return missing
    names = ", ".join(map(_short, own))
    which = f"unknown column {names}" if len(own) == 1 else f"{len(own)} unknown columns: {names}"
    return [*missing, f"{which}; use --keep-columns (keep_columns=True) to keep columns of your own as coordinates"]


def _name_problems(own: Sequence[str]) -> list[str]:
    """Return one line for every column of the user's own whose name can be no coordinate, or is that of another."""
    problems = []
    taken: dict[str, str] = {}
    for column in own:
        try:
            # Some disks know no capitals: two names that differ in them alone would be one folder.
            name = own_coordinate(column, "O").name.casefold()
        except CatalogueError as error:
            problems.append(str(error))
            continue
        if name in taken:
            problems.append(f"columns {_short(taken[name])} and {_short(column)} would be one coordinate; rename one")
        taken[name] = column
    return problems


def _repetition_problems(scenes: pd.Series) -> list[str]:
    repeated = scenes[scenes.duplicated()].unique()
    lines = [f"scene {_short(scene)[1:-1]} has several rows" for scene in repeated[:_SHOWN]]
    more = len(repeated) - len(lines)
    return [*lines, f"{more:,} more scenes have several rows"] if more else lines


class _Faults:
    """Wrong values of a table, gathered by what is wrong with them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lines: dict[str, list[str]] = {}

    def add(self, line: int, column: str, text: str, reason: str) -> None:
        self._counts[reason] += 1
        if self._counts[reason] <= _SHOWN:
            self._lines.setdefault(reason, []).append(f"line {line}, column {column!r}: {_short(text)} is {reason}")

    def lines(self) -> list[str]:
        """Return one line for every value; one line for all where many are wrong in the same way."""
        return [
            line
            for reason, count in self._counts.items()
            for line in (
                self._lines[reason]
                if count <= _SHOWN
                else [f"{count:,} values are wrong in the same way; the first: {self._lines[reason][0]}"]
            )
        ]


def _parse_column(texts: pd.Series, dtype: str, faults: _Faults) -> np.ndarray:
    values = []
    for line, text in texts.items():
        try:
            values.append(_parse_value(text, dtype, _KNOWN.get(str(texts.name))))
        except ValueError as error:
            faults.add(int(str(line)), str(texts.name), text, str(error))
    return np.array(values, dtype=dtype)


_WHOLE_NUMBER = r"-?(0|[1-9]\d{0,17})"  # within int64; 007 is no number, as its zeros would be lost
_NUMBER = r"-?(0|[1-9]\d{0,14})([.]\d{0,40})?([eE][+-]?\d{1,2})?"  # finite, and exact where it is whole
_MAX_TEXT = 1_000  # characters; every scene takes memory for the longest


def _parse_own(texts: pd.Series, decimal: str, faults: _Faults) -> np.ndarray:
    """Return a column of the user's own as bool, int64, float64 (NaN where it is empty), or else text."""
    flags = texts.replace(regex={r"(?i)^true$": "1", r"(?i)^false$": "0"})
    if flags.isin(("0", "1")).all():
        return (flags == "1").to_numpy(bool)
    if texts.str.fullmatch(_WHOLE_NUMBER).all():
        return texts.map(int).to_numpy("int64")
    numbers = texts.str.replace(",", ".", regex=False) if decimal == "," else texts
    if (is_empty := texts == "").sum() < len(texts) and (numbers.str.fullmatch(_NUMBER) | is_empty).all():
        return numbers.mask(is_empty, "nan").map(float).to_numpy("float64")
    for line, text in texts[texts.str.len() > _MAX_TEXT].items():
        faults.add(int(str(line)), str(texts.name), text, f"longer than {_MAX_TEXT:,} characters")
    return texts.to_numpy(object)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


_KNOWN: dict[str, tuple[object, ...]] = {"dataset": DATASETS, "annotator": ANNOTATORS, "difficulty": DIFFICULTIES}


def _parse_value(text: str, dtype: str, known: tuple[object, ...] | None) -> object:
    value = _parse_type(text, dtype)
    if known is not None and value not in known:
        raise ValueError(f"none of {', '.join(map(str, known))}")
    return value


def _parse_type(text: str, dtype: str) -> object:
    if dtype == "O":
        if not text:
            raise ValueError("empty; expected text")
        return text
    if dtype == "bool":
        if text not in ("0", "1"):
            raise ValueError("neither 0 nor 1")
        return text == "1"
    if dtype == "float64":
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= 100:
            raise ValueError("no percentage from 0 to 100")
        return value
    limits = np.iinfo(dtype)
    if not text.isdecimal() or int(text) > limits.max:
        raise ValueError(f"no whole number from 0 to {limits.max}")
    return int(text)
