"""Decode the published table (CSV) within bounds."""

import io

import numpy as np
import pandas as pd

from s2cmc.errors import ReleaseError
from s2cmc.schema import ANNOTATORS, DATASETS, DIFFICULTIES, TABLE_COLUMNS, TABLE_COORDINATES

_MAX_PROBLEMS = 1_000  # wrong values that one error lists


def read_table(content: bytes, path: str) -> pd.DataFrame:
    """Read the published table: columns and order as published, tags and ``shadows_marked`` as bool.

    Raises
    ------
    ReleaseError
        With one line for every column or value that is not as expected.
    """
    try:
        text = _read_text(content)
    except ValueError as error:  # what pandas raises too
        raise ReleaseError(f"{path} is not a readable CSV: {error}") from error
    problems = [f"missing column {name!r}" for name in TABLE_COLUMNS if name not in text]
    problems += [f"unknown column {name!r}, which a store could not keep" for name in text if name not in TABLE_COLUMNS]
    if problems:
        raise ReleaseError(f"{path} does not have the {len(TABLE_COLUMNS)} published columns", problems)
    if text.empty:
        raise ReleaseError(f"{path} has no rows")
    columns = {c.published: _parse_column(text[c.published], c.dtype, problems) for c in TABLE_COORDINATES}
    repeated = text["scene"][text["scene"].duplicated()].unique()
    problems += [f"scene {_short(scene)[1:-1]} has several rows" for scene in repeated[:_MAX_PROBLEMS]]
    if problems:
        raise ReleaseError(f"{path} cannot be read as the published table", problems)
    return pd.DataFrame(columns)


def read_scenes(content: bytes) -> pd.DataFrame | None:
    """Read only the scenes and datasets of a table that `read_table` refuses; None if these cannot be read either."""
    try:
        text = _read_text(content)
    except ValueError:
        return None
    if text.empty or not {"scene", "dataset"} <= set(text):
        return None
    return text[["scene", "dataset"]].drop_duplicates("scene")


def _read_text(content: bytes) -> pd.DataFrame:
    """Read the table as text."""
    # Lines are checked first: pandas allocates memory for as many columns as it finds.
    for number, line in enumerate(io.BytesIO(content), start=1):
        if line.count(b",") > 2 * len(TABLE_COLUMNS):
            raise ValueError(f"line {number} has {line.count(b',') + 1} values; expected {len(TABLE_COLUMNS)}")
        if line.count(b'"') % 2:
            raise ValueError(f"line {number} ends within quotation marks")
    return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _parse_column(texts: pd.Series, dtype: str, problems: list[str]) -> np.ndarray:
    values = []
    for line, text in enumerate(texts, start=2):
        try:
            values.append(_parse_value(text.strip(), dtype, _KNOWN.get(str(texts.name))))
        except ValueError as error:
            problems.append(f"line {line}, column {texts.name!r}: {_short(text)} is {error}")
            if len(problems) >= _MAX_PROBLEMS:
                break
    return np.array(values, dtype=dtype)


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
