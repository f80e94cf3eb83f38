"""The language of `select`: boolean algebra over scene coordinates, read as pandas reads it, and nothing else."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.expressions import BLOWN_UP, ESCAPES, LOOK_ALIKES
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import QueryError
from s2cmc.query.expression import evaluate

SCENES = 12
_rng = np.random.default_rng(7)
COORDINATES = {
    "thin": _rng.random(SCENES) < 0.5,
    "cirrus": _rng.random(SCENES) < 0.5,
    "snow_ice": _rng.random(SCENES) < 0.3,
    "difficulty": _rng.integers(1, 6, SCENES).astype("uint8"),
    "relative_orbit": _rng.integers(1, 144, SCENES).astype("int16"),
    "cloud_percent": np.round(_rng.uniform(0, 100, SCENES), 1),
    "lat_min": np.where(np.arange(SCENES) % 4 == 0, np.nan, _rng.uniform(-60, 60, SCENES)),
    "annotator": _rng.choice(["A", "B"], SCENES),
    "dataset": _rng.choice(["MAIN", "VALIDATION", "CALIBRATION"], SCENES),
    "time": np.datetime64("2018-01-01T10:00:00", "ns") + np.arange(SCENES) * np.timedelta64(30, "D"),
}
# As published, too: pandas knows names in backticks, so that these are compared with it as well.
TABLE = pd.DataFrame(COORDINATES).assign(**{"snow/ice": COORDINATES["snow_ice"]})

numbers = st.sampled_from(["difficulty", "relative_orbit", "cloud_percent", "lat_min"])
constants = st.one_of(
    st.integers(-300, 300).map(str), st.floats(-90, 100).map(repr), st.sampled_from(["0", "1", "3", "5"])
)
orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
texts = st.sampled_from(["annotator", "dataset"])
words = st.sampled_from(["'A'", '"B"', "'MAIN'", "'VALIDATION'", "'C'", "'and'"])
dates = st.sampled_from(["'2018-01-31'", "'2018-06'", "'2018-03-02 10:00'", "'2018-07-30T10:00:00'"])
membership = st.sampled_from(["in", "not in"])


def _list_of(elements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(elements, min_size=1, max_size=3).map(lambda found: f"[{', '.join(found)}]")


def _phrase(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(" ".join)


comparisons = st.one_of(
    _phrase(numbers, orders, constants),
    _phrase(constants, orders, numbers),
    _phrase(numbers, orders, numbers),
    _phrase(constants, orders, numbers, orders, constants),
    _phrase(texts, orders, words),
    # Not == and !=: there pandas 3 compares the string itself with the times, so that nothing is ever equal.
    _phrase(st.just("time"), st.sampled_from(["<", "<=", ">", ">="]), dates),
    _phrase(dates, st.just("<="), st.just("time"), st.just("<"), dates),
    _phrase(st.just("difficulty"), membership, _list_of(st.integers(0, 6).map(str))),
    _phrase(texts, membership, _list_of(words)),
)
flags = st.sampled_from(["thin", "cirrus", "snow_ice", "`snow/ice`", "`thin`"])
expressions = st.recursive(
    st.one_of(flags, comparisons),
    lambda inner: st.one_of(
        _phrase(inner, st.sampled_from(["and", "or", "&", "|"]), inner),
        st.tuples(st.sampled_from(["not ", "~", ""]), inner).map(lambda found: f"{found[0]}({found[1]})"),
        st.tuples(st.sampled_from(["not ", "~"]), flags).map("".join),
    ),
    max_leaves=8,
)


@given(expressions)
@settings(max_examples=100, deadline=None)
def test_every_expression_selects_what_pandas_selects(expression: str) -> None:
    np.testing.assert_array_equal(evaluate(expression, COORDINATES), TABLE.eval(expression, engine="python"))


@pytest.mark.parametrize(
    "expression",
    [
        "thin and not cirrus or snow_ice",
        "difficulty > 2 & cloud_percent < 50",
        "difficulty > 2 | cloud_percent < 50 & ~thin",
        "not thin == cirrus",
        "thin == (difficulty > 3)",
        "1 < difficulty <= 3",
        "'2018-03' <= time < '2018-09-01'",
        "annotator == 'A' and dataset not in ['MAIN', 'CALIBRATION']",
        "  thin  ",
    ],
)
def test_operators_bind_as_in_pandas(expression: str) -> None:
    np.testing.assert_array_equal(np.flatnonzero(evaluate(expression, COORDINATES)), TABLE.query(expression).index)


# Written the way pandas does not read: here numpy is the oracle.
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("annotator in ('A', 'B')", np.ones(SCENES, bool)),
        ("difficulty in []", np.zeros(SCENES, bool)),
        ("time in ['2018-01-31 10:00']", COORDINATES["time"] == np.datetime64("2018-01-31T10:00")),
        ("time != '2018-01-31 10:00'", COORDINATES["time"] != np.datetime64("2018-01-31T10:00")),
        ("(thin\n and cirrus)", COORDINATES["thin"] & COORDINATES["cirrus"]),
        ("thin == True", COORDINATES["thin"]),
        ("True", np.ones(SCENES, bool)),
        ("not (1 == 1)", np.zeros(SCENES, bool)),
        ("'A' == 'A'", np.ones(SCENES, bool)),
        ("difficulty in {1, 2}", np.isin(COORDINATES["difficulty"], [1, 2])),
        ("time >= '2018-03-02T12:00+02:00'", COORDINATES["time"] >= np.datetime64("2018-03-02T10:00")),
        ("difficulty > -99999999999999999999", np.ones(SCENES, bool)),
    ],
)
def test_more_than_pandas(expression: str, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(evaluate(expression, COORDINATES), expected)


@pytest.mark.parametrize(
    "published", ["snow/ice", "desert/barren", "wetland/bog/marsh", " snow/ice ", "open_water", "wetland/bog_marsh"]
)
def test_a_published_name_stands_in_backticks(published: str) -> None:
    values = np.array([True, False])
    found = evaluate(f"not `{published}`", {published.strip().replace("/", "_"): values})
    np.testing.assert_array_equal(found, ~values)


@pytest.mark.parametrize("text", ["it's", 'so-called "A"', "`snow/ice`", "a & b", "a | b", "A`", "&", "a or b", "#"])
def test_nothing_inside_a_string_is_an_operator(text: str) -> None:
    notes = np.array([text, "other"])
    found = evaluate(f"note == {text!r} and `note` != 'other'", {"note": notes})
    np.testing.assert_array_equal(found, notes == text)


def test_an_escaped_quote_does_not_end_a_string() -> None:
    notes = np.array(["it's & `x`", "other"])
    np.testing.assert_array_equal(evaluate(r"note == 'it\'s & `x`'", {"note": notes}), [True, False])


def test_a_backslash_in_a_string_is_no_warning_of_python() -> None:
    notes = np.array([r"\d", "other"])
    np.testing.assert_array_equal(evaluate(r"note == '\d'", {"note": notes}), [True, False])


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("cirus", "cirrus"), ("snow", "snow_ice"), ("`snow/icee`", "snow_ice"), ("cloud_pct > 5", "cloud_percent")],
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(QueryError, match=rf"did you mean .*\b{nearest}\b"):
        evaluate(wrong, COORDINATES)


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(QueryError, match=r"no scene coordinate 'xqzw'; there are thin, cirrus, .*time"):
        evaluate("xqzw", COORDINATES)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "is no expression"),
        ("thin and", "is no expression"),
        ("thin = True", "is no expression"),
        ("thin && cirrus", "is no expression"),
        ("`thin", "is no expression"),
        ("``", "is no name of a coordinate"),
        ("snow/ice", "put this published name into backticks: `snow/ice`"),
        ("forest/jungle", "forest / jungle is a division; put this published name into backticks: `forest/jungle`"),
        ("thin and not wetland/bog/marsh", "into backticks: `wetland/bog/marsh`"),
        ("~haze/fog | thin", "into backticks: `haze/fog`"),
        ("forest/jungel", "put a published name into backticks: `forest/jungle`"),
        ("cloud_percent / 2 > 3", "put a published name into backticks: `snow/ice`"),
        ("difficulty", "neither true nor false"),
        ("thin and 1", "neither true nor false"),
        ("annotator > 5", r"annotator \(text\) cannot be compared with 5 \(number\)"),
        ("difficulty in [1, 'A']", r"difficulty \(number\) cannot be compared with 'A' \(text\)"),
        ("annotator == 99999999999999999999", r"annotator \(text\) cannot be compared with 9+ \(number\)"),
        ("time > 2018", r"time \(time\) cannot be compared with 2018 \(number\)"),
        ("time > 'yesterday'", "'yesterday' is no date"),
        ("time > '2018-02-30'", "'2018-02-30' is no date"),
        ("time > ''", "'' is no date"),
        ("annotator in 'A'", "is no list; write `in` with one"),
        ("thin is cirrus", "use == or !="),
    ],
)
def test_what_cannot_be_evaluated_is_said(expression: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        evaluate(expression, COORDINATES)


@pytest.mark.parametrize("escape", [*ESCAPES, *LOOK_ALIKES], ids=ascii)
def test_nothing_but_algebra_is_evaluated(escape: str, tmp_path: Path) -> None:
    path = tmp_path / "executed"
    start = time.perf_counter()
    with pytest.raises(QueryError, match=r".+"):
        evaluate(escape.format(path=str(path)), COORDINATES)
    assert time.perf_counter() - start < 0.5
    assert not path.exists()


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 1990 + "thin" + ")" * 1990,
        "[" * 3000,
        "~" * 3990 + "thin",
        "not " * 990 + "thin",
        "-" * 3980 + "1 == 1",
        "thin == (" * 440 + "thin" + ")" * 440,
        "thin" * 1001,
        "thin or " * 10_000_000 + "thin",
    ],
    ids=lambda expression: expression[:10],
)
def test_too_long_or_too_deep_is_refused_at_once(expression: str) -> None:
    start = time.perf_counter()
    with pytest.raises(QueryError, match=r"characters; at most 4000|is no expression|nested too deeply"):
        evaluate(expression, COORDINATES)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("expression", ["thin or " * 490 + "thin", "(" * 50 + "thin" + ")" * 50, "not " * 50 + "thin"])
def test_long_or_deep_within_reason_is_evaluated(expression: str) -> None:
    np.testing.assert_array_equal(evaluate(expression, COORDINATES), COORDINATES["thin"])


TOKENS = """
thin difficulty annotator time `snow/ice` unknown and or not & | ~ in is == < >= ( ) [ ] , 1 -1 1e999 0x1 1j None True
99999999999999999999 'A' "2018-06" 'NaT' '' ' " ` \\ # . @ : * / { } lambda :=
"""


@given(st.one_of(st.lists(st.sampled_from(TOKENS.split()), max_size=10).map(" ".join), st.text(max_size=20)))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_scenes_or_a_query_error(text: str) -> None:
    try:
        found = evaluate(text, COORDINATES)
    except QueryError:
        return
    assert (found.dtype, found.shape) == (bool, (SCENES,))


@pytest.mark.parametrize("expression", BLOWN_UP, ids=lambda text: ascii(text[:20]))
def test_what_would_blow_up_is_refused_at_once(expression: str) -> None:
    start = time.perf_counter()
    with pytest.raises(QueryError, match=r".+") as caught:
        evaluate(expression, COORDINATES)
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 10_000
