"""Self-contained HTML pages: text, tables and pictures in one file that loads nothing."""

import base64
import io
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OPENING = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">"""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
div.wide { overflow-x: auto; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
img { max-width: 100%; }
.scenes { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: 12px; overflow-wrap: anywhere; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """One page of `parts`, each of which is HTML."""
    head = f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>"
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f"{_OPENING}\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n"


def heading(text: str) -> str:
    """Heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def table(frame: pd.DataFrame) -> str:
    """Table of a frame without its index."""
    return f'<div class="wide">{frame.to_html(index=False, border=0)}</div>'


def chart(figure: "Figure", description: str) -> str:
    """Picture of a matplotlib figure."""
    import matplotlib

    content = io.BytesIO()
    # The same figure gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "s2cmc", "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return _image("image/svg+xml", content.getvalue(), description)


def scene(colour: np.ndarray | None, description: str, caption: str) -> str:
    """Picture (y, x, rgb), uint8, if there is one, with a caption."""
    image = ""
    if colour is not None:
        from matplotlib.image import imsave

        content = io.BytesIO()
        imsave(content, colour, format="png")
        image = _image("image/png", content.getvalue(), description)
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def grid(figures: Iterable[str]) -> str:
    """Scenes side by side."""
    return f'<div class="scenes">{"".join(figures)}</div>'


def _image(kind: str, content: bytes, description: str) -> str:
    return f'<img alt="{escape(description)}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
