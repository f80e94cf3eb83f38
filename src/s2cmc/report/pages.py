"""The pages that people keep: the catalogue's statistics, and the evaluation of a prediction."""

import base64
import io
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.evaluation import compute_together, match_counts, overall_scores, precision_recall, to_binary
from s2cmc.report import charts, tables
from s2cmc.schema import TAGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Self-contained HTML pages: text, tables and pictures in one file that loads nothing.

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


_SCORES_CHART = "F1 of each class by stratum, with interval and human ceiling"
_DEFAULT_TITLE = "Sentinel-2 Cloud Mask Catalogue"


def statistics_page(catalogue: xr.Dataset, found: dict[str, xr.Dataset]) -> str:
    """The catalogue's own tables with charts; see `CloudsAccessor.statistics_page`."""
    return page(_title(catalogue), _statistics_parts(catalogue, found))


def result_page(result: xr.Dataset) -> str:
    """Scores by stratum with a chart; see `ResultAccessor.to_html`."""
    said = [paragraph(text) for text in (tables.settings(result), *tables.remarks(result))]
    parts = [*said, chart(charts.scores_chart(result), _SCORES_CHART), *_score_tables(result)]
    return page(str(result.attrs["title"]), parts)


def evaluation_page(catalogue: xr.Dataset, counts: xr.Dataset, result: xr.Dataset, worst: int) -> str:
    """Scores by stratum with charts, and the worst scenes; see `CloudsAccessor.evaluation_page`."""
    if worst < 1:
        raise QueryError(f"worst {worst} is no number of scenes from 1 on")
    part, counts = match_counts(catalogue, counts)
    (counts,) = compute_together(counts)
    return page(f"Evaluation on the {_title(catalogue)}", _evaluation_parts(part, counts, result, worst))


def _title(catalogue: xr.Dataset) -> str:
    return str(catalogue.attrs.get("title", _DEFAULT_TITLE))


def _statistics_parts(catalogue: xr.Dataset, found: dict[str, xr.Dataset]) -> Iterator[str]:
    height, width = catalogue.sizes["y"], catalogue.sizes["x"]
    yield paragraph(f"{catalogue.sizes['scene']} scenes of {height} x {width} pixels.")
    if catalogue.attrs.get("synthetic"):
        yield paragraph(str(catalogue.attrs.get("summary", "Synthetic data; nothing was measured.")))
    yield heading("Class prevalence")
    yield paragraph(
        "Share of the labelled pixels, counted in the masks. A scene with several tags is in several strata. Where "
        "shadows are not marked, clear may hide shadow."
    )
    prevalence = found["prevalence"]
    yield chart(charts.prevalence_chart(prevalence), "percentage of each class by stratum")
    yield table(tables.prevalence_table(prevalence))
    for name, title, dim in (("difficulty", "Difficulty", "difficulty"), ("tags", "Tags", "tag")):
        yield heading(title)
        scenes = found[name]["scenes"]
        yield chart(charts.shares_chart(scenes[dim].values.tolist(), scenes.to_numpy()), f"scenes by {dim}")
        yield table(tables.share_table(found[name]))
    yield heading("Tags that go together")
    yield paragraph("Scenes that have both of two tags; on the diagonal those that have one.")
    yield chart(charts.cooccurrence_chart(found["tag_cooccurrence"]["scenes"]), "scenes with both of two tags")
    yield heading("Agreement between the annotators")
    if "agreement" in found:
        yield paragraph("Annotator B against annotator A, over the scenes that both masked.")
        yield chart(charts.scores_chart(found["agreement"]), "F1 of each class by dataset")
        yield from _score_tables(found["agreement"])
    else:
        yield paragraph("There are no masks of both annotators here.")


def _evaluation_parts(part: xr.Dataset, counts: xr.Dataset, result: xr.Dataset, worst: int) -> Iterator[str]:
    yield paragraph(f"{part.sizes['scene']} scenes; {tables.settings(result)}.")
    yield heading("Scores by stratum")
    yield paragraph(
        "Pooled over the pixels of a stratum; a scene with several tags is in several strata. Intervals: bootstrap "
        "over independent groups of scenes. Cloud is scored on all scenes, clear and cloud shadow where shadows are "
        "marked."
    )
    for remark in tables.remarks(result):
        yield paragraph(f"{remark}.")
    yield chart(charts.scores_chart(result), _SCORES_CHART)
    yield from _score_tables(result)
    if "cloud_probability" in counts:
        yield heading("Precision and recall")
        curve = precision_recall(part, counts, None)
        yield chart(charts.curve_chart(curve, counts.attrs["threshold"]), "precision against recall of cloud")
    yield heading("Pixels left out")
    yield table(tables.ignored_table(result))
    scenes = list(_worst_scenes(part, counts, worst))
    yield heading(f"The {len(scenes)} worst scenes")
    yield paragraph("Lowest accuracy of cloud against non-cloud.")
    yield grid(scenes)


def _score_tables(result: xr.Dataset) -> Iterator[str]:
    yield table(tables.class_table(result))
    yield paragraph("All classes together: cloud against non-cloud, and three classes where they are predicted.")
    yield table(tables.overall_table(result))


def _worst_scenes(part: xr.Dataset, counts: xr.Dataset, worst: int) -> Iterator[str]:
    tables = to_binary(counts["confusion"].transpose("scene", "truth", "predicted").to_numpy())
    accuracy = overall_scores(tables)["accuracy"]
    order = np.argsort(accuracy, kind="stable")[:worst]  # NaN, a scene without a pixel to score, comes last
    for i in order[~np.isnan(accuracy[order])].tolist():
        at = part.isel(scene=i)
        total = tables[i].sum()
        missed, invented = tables[i, 1, 0] / total, tables[i, 0, 1] / total
        tags = ", ".join(tag.name for tag in TAGS if at[tag.name])
        caption = (
            f"{at['scene'].item()}: accuracy {accuracy[i]:.3f}; {100 * missed:.1f} % missed cloud, "
            f"{100 * invented:.1f} % false cloud; difficulty {at['difficulty'].item()}; {tags}"
        )
        picture = at["thumbnail"].to_numpy() if "thumbnail" in at and at["has_thumbnail"] else None
        yield scene(picture, f"thumbnail of {at['scene'].item()}", caption)
