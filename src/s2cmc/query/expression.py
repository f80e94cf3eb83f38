"""Boolean expressions over scene coordinates, written as for `pandas.DataFrame.query`.

Only names, constants, comparisons and boolean operators are evaluated: no calls, attributes or indexing, so an
untrusted expression can do nothing but select.

`pandas.eval` is not used behind that check. It compares strings with times without an error (``time == '2018-06-01'``
selects no scene), finds ``'A' == 'A'`` false and evaluates ``not (1 == 1)`` to -2, fails on 490 parts joined by ``or``,
and takes milliseconds where NumPy takes tenths of one. A check of all types before would be as long as this module.
"""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.errors import QueryError, name_hint
from s2cmc.schema import TABLE_COLUMNS, coordinate_name

_MAX_LENGTH = 4000
_LONGEST_NAME = 100  # characters that are compared with published names

_TOKEN = re.compile(r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`(?P<name>[^`]*)`|(?P<operator>[&|])""")

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}


ReadText = Callable[[str, str], str]
"""Called with the name of a coordinate and a text to compare with; returns the text as the coordinate spells it."""


def evaluate(expression: str, coordinates: Mapping[str, np.ndarray], read_text: ReadText | None = None) -> np.ndarray:
    """Evaluate an expression.

    Parameters
    ----------
    expression : str
        ``and or not & | ~``, comparisons (also chained, and ``in`` a list), parentheses, numbers, strings, dates as
        strings, names of coordinates. Published names such as ``snow/ice`` are put into backticks. As in pandas, ``&``
        and ``|`` bind like ``and`` and ``or``.
    coordinates : mapping of str to ndarray (scene,)
    read_text : callable, optional
        See `ReadText`; by default a text is compared as it is written.

    Returns
    -------
    ndarray (scene,), bool
        Whether the expression holds for each scene.

    Raises
    ------
    QueryError
        If a name is unknown, a type does not fit, or the expression has any other syntax.
    """
    try:
        result = _Evaluator(expression, coordinates, read_text).boolean(_parse(expression))
    except RecursionError as error:
        raise QueryError("the expression is nested too deeply; write it with fewer levels of not, ~ and -") from error
    return np.array(np.broadcast_to(result, np.shape(next(iter(coordinates.values())))))


def _parse(expression: str) -> ast.expr:
    if not isinstance(expression, str):
        raise QueryError(f"an expression is text like 'snow_ice and thin'; got {type(expression).__name__}")
    if len(expression) > _MAX_LENGTH:
        raise QueryError(f"the expression has {len(expression)} characters; at most {_MAX_LENGTH} are read")
    source = _TOKEN.sub(_as_python, expression).strip()
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # on a backslash in a string
            return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", error)
        raise QueryError(
            f"{expression!r} is no expression: {reason}; write one like 'snow_ice and (thin or cirrus)' or "
            "'cloud_percent > 50 and difficulty in [1, 2]'"
        ) from error


def _as_python(token: re.Match[str]) -> str:
    if token["text"]:
        return token["text"]
    if token["operator"]:
        return " and " if token["operator"] == "&" else " or "
    name = coordinate_name(token["name"].strip())
    if not name.isidentifier():
        raise QueryError(f"`{token['name']}` is no name of a coordinate or a published column")
    return f" {name} "


class _Evaluator:
    """Evaluate the nodes of one expression."""

    def __init__(self, expression: str, coordinates: Mapping[str, np.ndarray], read_text: ReadText | None) -> None:
        self._expression = expression
        self._coordinates = coordinates
        self._read_text = read_text

    def boolean(self, node: ast.expr) -> Any:
        """Evaluate a node that must be true or false."""
        match node:
            case ast.BoolOp(op=conjunction, values=parts):
                combine = np.logical_and if isinstance(conjunction, ast.And) else np.logical_or
                result = self.boolean(parts[0])
                for part in parts[1:]:
                    result = combine(result, self.boolean(part))
                return result
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return np.logical_not(self.boolean(operand))
            case ast.Compare(left=left, ops=operators, comparators=others):
                result, here = np.True_, left
                for operator, there in zip(operators, others, strict=True):
                    result = np.logical_and(result, self._compare(here, operator, there))
                    here = there
                return result
        value = self._value(node)
        if np.asarray(value).dtype.kind != "b":
            raise self._error(node, "is neither true nor false; compare it with something")
        return value

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return self._coordinate(name)
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not() | ast.Invert()):
                return self.boolean(node)
            case ast.BinOp(op=ast.Div()):
                raise self._error(node, f"is a division; {_backticks_hint(node)}")
        raise self._error(node, "cannot stand here; only names, constants, comparisons and and/or/not are evaluated")

    def _compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operator, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise self._error(right, "is no list; write `in` with one, like ['A', 'B']")
            equal = [self._compare(left, ast.Eq(), element) for element in right.elts]
            is_member = np.logical_or.reduce(equal) if equal else np.False_
            return np.logical_not(is_member) if isinstance(operator, ast.NotIn) else is_member
        compare = _COMPARISONS.get(type(operator))
        if compare is None:
            raise self._error(left, f"cannot be compared by `{type(operator).__name__}`; use == or !=")
        here, there = self._value(left), self._value(right)
        here, there = self._as_spelled(here, right), self._as_spelled(there, left)
        here, there = self._as_date(here, there, left), self._as_date(there, here, right)
        mismatch = f"({_kind(here)}) cannot be compared with {ast.unparse(right)} ({_kind(there)})"
        if _kind(here) != _kind(there):
            raise self._error(left, mismatch)
        try:
            return compare(here, there)
        except (TypeError, OverflowError) as error:  # text with gaps has no order, and floats have an end
            raise self._error(left, mismatch) from error

    def _as_spelled(self, value: Any, other: ast.expr) -> Any:
        """Spell a string that is compared with a coordinate as the coordinate does."""
        if self._read_text is None or not isinstance(value, str) or not isinstance(other, ast.Name):
            return value
        return self._read_text(other.id, value)

    def _as_date(self, value: Any, other: Any, node: ast.expr) -> Any:
        """Turn a string that is compared with a time into a date."""
        if not isinstance(value, str) or np.asarray(other).dtype.kind != "M":
            return value
        try:
            date = pd.Timestamp(value)
        except ValueError as error:
            raise self._error(node, "is no date; write it like '2018-06-01'") from error
        if pd.isna(date):
            raise self._error(node, "is no date; write it like '2018-06-01'")
        return date.to_datetime64()

    def _coordinate(self, name: str) -> np.ndarray:
        if name not in self._coordinates:
            raise QueryError(f"no scene coordinate {name!r}; {name_hint(name, self._coordinates)}")
        return self._coordinates[name]

    def _error(self, node: ast.expr, message: str) -> QueryError:
        return QueryError(f"in {self._expression!r}: {ast.unparse(node)} {message}")


def _backticks_hint(division: ast.expr) -> str:
    """Return the end of a message about a division that is meant as a published name, such as ``snow/ice``."""
    name = "/".join(re.findall(r"\w+", ast.unparse(division)))[:_LONGEST_NAME]
    published = [column for column in TABLE_COLUMNS if "/" in column]
    if name in published:
        return f"put this published name into backticks: `{name}`"
    near = get_close_matches(name, published, n=1)
    return f"put a published name into backticks: `{near[0] if near else 'snow/ice'}`"


_KINDS = dict.fromkeys("biuf", "number") | dict.fromkeys("UTO", "text") | {"M": "time"}


def _kind(value: Any) -> str:
    if isinstance(value, int):
        return "number"  # however large; NumPy makes an object of it
    return _KINDS.get(np.asarray(value).dtype.kind, "other")
