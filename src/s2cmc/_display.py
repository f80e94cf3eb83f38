"""Objects described for people, as text and as HTML of notebooks: a title, and names with what they are."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 100  # characters of a line
_INDENT = 2

Rows = Sequence[tuple[str, str]]
"""Names, and what they are."""

_STYLE = "text-align: left; vertical-align: top; padding: 0.1em 1.2em 0.1em 0; white-space: {}"


@dataclass(frozen=True)
class Description:
    """A description of an object.

    Attributes
    ----------
    title : str
    rows : sequence of (str, str)
        Facts.
    topics : sequence of (str, rows)
        What can be asked, by topic: names of methods, and what they do, which is only in the HTML.
    """

    title: str
    rows: Rows
    topics: Sequence[tuple[str, Rows]] = ()

    def to_text(self) -> str:
        """Return lines of at most 100 characters."""
        lists = [(topic, ", ".join(name for name, _ in rows)) for topic, rows in self.topics]
        lines = [self.title, *_lines(self.rows), *(["ask for"] if lists else []), *_lines(lists)]
        return "\n".join(lines)

    def to_html(self) -> str:
        """Return a part of an HTML page, with colors and fonts of the page around it; everything in it is escaped."""
        unfolded = [
            f"<details><summary>{escape(topic)}</summary>{_table(rows, code=True)}</details>"
            for topic, rows in self.topics
        ]
        return f"<div><strong>{escape(self.title)}</strong>{_table(self.rows)}{''.join(unfolded)}</div>"


def _lines(rows: Rows) -> Iterable[str]:
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        head = " " * _INDENT + name.ljust(width) + " " * _INDENT
        yield textwrap.fill(value, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) or head.rstrip()


def _table(rows: Rows, *, code: bool = False) -> str:
    """Make a table of two columns; names are code if asked for."""
    mark = "code" if code else "span"
    cells = [
        f'<tr><th style="{_STYLE.format("nowrap")}; font-weight: normal"><{mark}>{escape(name)}</{mark}></th>'
        f'<td style="{_STYLE.format("normal")}">{escape(value)}</td></tr>'
        for name, value in rows
    ]
    return f'<table style="border-collapse: collapse; margin: 0.3em 0">{"".join(cells)}</table>'
