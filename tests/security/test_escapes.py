"""Expressions and questions of strangers, wherever they are read, can do nothing but select."""

import time
from pathlib import Path

import pytest
import xarray as xr
from helpers.expressions import BLOWN_UP, ESCAPES, LOOK_ALIKES

from s2cmc.errors import QueryError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("expression", [*ESCAPES, *LOOK_ALIKES, *BLOWN_UP], ids=lambda text: ascii(text[:20]))
def test_a_question_to_ask_by_is_a_name_and_nothing_else(expression: str, opened: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "executed"
    start = time.perf_counter()
    with pytest.raises(QueryError, match=r"no question ") as caught:
        opened.clouds.prevalence(expression.format(path=str(path)))
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 6000
    assert not path.exists()


@pytest.mark.parametrize("escape", [ESCAPES[0], ESCAPES[3], LOOK_ALIKES[0], BLOWN_UP[0], "(" * 3000], ids=ascii)
@pytest.mark.parametrize(
    "line",
    [
        ("select", "{store}", "{escape}"),
        ("fractions", "{store}", "--where", "{escape}"),
        ("export", "{store}", "{tmp}/out", "--where", "{escape}"),
        ("stats", "{store}", "--by", "{escape}"),
    ],
    ids=lambda line: line[0],
)
def test_the_command_evaluates_nothing_else_either(line, escape, store, run, tmp_path) -> None:
    path = tmp_path / "executed"
    escape = escape.format(path=str(path))
    answer = run(*(word.format(store=store, tmp=tmp_path, escape=escape) for word in line))
    assert answer.is_one_message()
    assert not path.exists()
    assert not (tmp_path / "out").exists()
