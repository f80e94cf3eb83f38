"""Self-contained HTML pages: the catalogue's statistics, the evaluation of a prediction, a result.

The text of a page is in ``templates/``; the functions here compute the values, tables and pictures that it shows.
A page is one file that loads nothing: pictures are data URIs.
"""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.evaluation import compute_together, match_counts, overall_scores, precision_recall, to_binary
from s2cmc.report import charts, tables
from s2cmc.schema import TAGS

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

_SCORES_CHART = "F1 of each class by stratum, with interval and human ceiling"
_DEFAULT_TITLE = "Sentinel-2 Cloud Mask Catalogue"


@dataclass(frozen=True)
class Picture:
    """Picture of a page.

    Attributes
    ----------
    source : str
        The picture itself, as a data URI.
    description : str
        Text for readers who do not see it.
    """

    source: str
    description: str


def statistics_page(catalogue: xr.Dataset, statistics: Mapping[str, xr.Dataset]) -> str:
    """Show the catalogue's own tables with charts; see `CloudsAccessor.statistics_page`.

    Parameters
    ----------
    catalogue : Dataset
    statistics : mapping of str to Dataset
        Result of `gather_statistics`.

    Raises
    ------
    CatalogueError
        Without jinja2 or matplotlib.
    """
    prevalence, difficulty, tags = (statistics[name] for name in ("prevalence", "difficulty", "tags"))
    cooccurrence = charts.cooccurrence_chart(statistics["tag_cooccurrence"]["scenes"])
    agreement = statistics.get("agreement")
    return _render(
        "statistics.html",
        title=_title(catalogue),
        scenes=catalogue.sizes["scene"],
        height=catalogue.sizes["y"],
        width=catalogue.sizes["x"],
        warning=_synthetic_warning(catalogue),
        prevalence={
            "chart": _draw(charts.prevalence_chart(prevalence), "percentage of each class by stratum"),
            "table": tables.prevalence_table(prevalence),
        },
        difficulty=_shares(difficulty, "difficulty"),
        tags=_shares(tags, "tag"),
        cooccurrence_chart=_draw(cooccurrence, "scenes with both of two tags"),
        agreement=None if agreement is None else _scores(agreement, "F1 of each class by dataset"),
    )


def result_page(result: xr.Dataset) -> str:
    """Show scores by stratum with a chart; see `ResultAccessor.to_html`.

    Parameters
    ----------
    result : Dataset (stratum, mask_class)
        Result of `evaluate`, `agreement` or `compare`.

    Raises
    ------
    CatalogueError
        Without jinja2 or matplotlib.
    """
    return _render(
        "result.html",
        title=result.attrs["title"],
        settings=tables.settings(result),
        remarks=tables.remarks(result),
        scores=_scores(result, _SCORES_CHART),
    )


def evaluation_page(catalogue: xr.Dataset, counts: xr.Dataset, result: xr.Dataset, worst: int) -> str:
    """Show scores by stratum with charts, and the worst scenes; see `CloudsAccessor.evaluation_page`.

    Parameters
    ----------
    catalogue : Dataset
    counts : Dataset
        Counts of the prediction, as `confusion` makes them.
    result : Dataset (stratum, mask_class)
        Result of `evaluate` with these counts.
    worst : int
        Number of scenes to show, lowest accuracy first; at least 1.

    Raises
    ------
    QueryError
        If `worst` is below 1.
    CatalogueError
        Without jinja2 or matplotlib.
    """
    if worst < 1:
        raise QueryError(f"worst {worst} is no number of scenes from 1 on")
    counted, counts = match_counts(catalogue, counts)
    (counts,) = compute_together(counts)
    return _render(
        "evaluation.html",
        title=f"Evaluation on the {_title(catalogue)}",
        scenes=counted.sizes["scene"],
        settings=tables.settings(result),
        remarks=tables.remarks(result),
        scores=_scores(result, _SCORES_CHART),
        curve=_curve(counted, counts) if "cloud_probability" in counts else None,
        ignored=tables.ignored_table(result),
        worst_scenes=list(_worst_scenes(counted, counts, worst)),
    )


def require_page_packages() -> None:
    """Refuse to go on without the packages that pages need, before anything is computed for one.

    Raises
    ------
    CatalogueError
        Without jinja2 or matplotlib.
    """
    charts.require_matplotlib()
    _require_jinja2()


def table(frame: pd.DataFrame) -> str:
    """Return a frame without its index as an HTML table; its texts are escaped."""
    return frame.to_html(index=False, border=0)


def _title(catalogue: xr.Dataset) -> str:
    return str(catalogue.attrs.get("title", _DEFAULT_TITLE))


def _synthetic_warning(catalogue: xr.Dataset) -> str | None:
    if not catalogue.attrs.get("synthetic"):
        return None
    return str(catalogue.attrs.get("summary", "Synthetic data; nothing was measured."))


def _shares(shares: xr.Dataset, dim: str) -> dict[str, Any]:
    """Chart and table of the number of scenes along `dim`."""
    scenes = shares["scenes"]
    figure = charts.shares_chart(scenes[dim].values.tolist(), scenes.to_numpy())
    return {"chart": _draw(figure, f"scenes by {dim}"), "table": tables.share_table(shares)}


def _scores(result: xr.Dataset, description: str) -> dict[str, Any]:
    """Chart and tables of the scores of a result."""
    return {
        "chart": _draw(charts.scores_chart(result), description),
        "by_class": tables.class_table(result),
        "overall": tables.overall_table(result),
    }


def _curve(catalogue: xr.Dataset, counts: xr.Dataset) -> Picture:
    curve = precision_recall(catalogue, counts, None)
    return _draw(charts.curve_chart(curve, counts.attrs["threshold"]), "precision against recall of cloud")


def _worst_scenes(catalogue: xr.Dataset, counts: xr.Dataset, limit: int) -> Iterator[dict[str, Any]]:
    """Values to show of the `limit` scenes of lowest accuracy, the lowest first."""
    confusion = to_binary(counts["confusion"].transpose("scene", "truth", "predicted").to_numpy())
    accuracy = overall_scores(confusion)["accuracy"]
    order = np.argsort(accuracy, kind="stable")[:limit]  # NaN, a scene without a pixel to score, comes last
    for i in order[~np.isnan(accuracy[order])].tolist():
        scene = catalogue.isel(scene=i)
        name = scene["scene"].item()
        share = confusion[i] / confusion[i].sum()
        # `ds.where` with a condition of pixels gives thumbnails the dimensions of pixels.
        has_thumbnail = "thumbnail" in scene and scene["thumbnail"].ndim == 3 and scene["has_thumbnail"].item()
        yield {
            "name": name,
            "accuracy": accuracy[i],
            "missed_percent": 100 * share[1, 0],
            "false_percent": 100 * share[0, 1],
            "difficulty": scene["difficulty"].item(),
            "tags": [tag.name for tag in TAGS if scene[tag.name]],
            "thumbnail": _encode(scene["thumbnail"].to_numpy(), f"thumbnail of {name}") if has_thumbnail else None,
        }


def _draw(figure: "Figure", description: str) -> Picture:
    """Draw a matplotlib figure as SVG; the same figure gives the same bytes."""
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "s2cmc", "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return _picture("image/svg+xml", content, description)


def _encode(pixels: np.ndarray, description: str) -> Picture:
    """Encode pixels (y, x, rgb), uint8, as PNG."""
    from matplotlib.image import imsave

    content = io.BytesIO()
    imsave(content, pixels, format="png")
    return _picture("image/png", content, description)


def _picture(media_type: str, content: io.BytesIO, description: str) -> Picture:
    return Picture(f"data:{media_type};base64,{base64.b64encode(content.getvalue()).decode()}", description)


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(values)


def _environment() -> "Environment":
    """Return the templates, which escape every text and refuse names that they are not given."""
    _require_jinja2()
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("s2cmc.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["table"] = lambda frame: Markup(table(frame))  # noqa: S704 - pandas escapes
    return environment


def _require_jinja2() -> None:
    try:
        import jinja2  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueError("pages need jinja2; install it with: pip install 's2cmc[plot]'") from error
