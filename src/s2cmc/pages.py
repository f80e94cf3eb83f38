"""The pages that people keep: the catalogue's statistics, and the evaluation of a prediction."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from s2cmc import charts, page, summary
from s2cmc.curve import precision_recall
from s2cmc.errors import QueryError
from s2cmc.evaluate import computed, matched
from s2cmc.schema import TAGS
from s2cmc.score import overall_scores, to_binary

_SCORES_CHART = "F1 of each class by stratum, with interval and human ceiling"
_DEFAULT_TITLE = "Sentinel-2 Cloud Mask Catalogue"


def statistics_page(catalogue: xr.Dataset, found: dict[str, xr.Dataset]) -> str:
    """The catalogue's own tables with charts; see `CloudsAccessor.statistics_page`."""
    return page.page(_title(catalogue), _statistics_parts(catalogue, found))


def result_page(result: xr.Dataset) -> str:
    """Scores by stratum with a chart; see `ResultAccessor.to_html`."""
    said = [page.paragraph(text) for text in (summary.settings(result), *summary.remarks(result))]
    parts = [*said, page.chart(charts.scores_chart(result), _SCORES_CHART), *_score_tables(result)]
    return page.page(str(result.attrs["title"]), parts)


def evaluation_page(catalogue: xr.Dataset, counts: xr.Dataset, result: xr.Dataset, worst: int) -> str:
    """Scores by stratum with charts, and the worst scenes; see `CloudsAccessor.evaluation_page`."""
    if worst < 1:
        raise QueryError(f"worst {worst} is no number of scenes from 1 on")
    part, counts = matched(catalogue, counts)
    (counts,) = computed(counts)
    return page.page(f"Evaluation on the {_title(catalogue)}", _evaluation_parts(part, counts, result, worst))


def _title(catalogue: xr.Dataset) -> str:
    return str(catalogue.attrs.get("title", _DEFAULT_TITLE))


def _statistics_parts(catalogue: xr.Dataset, found: dict[str, xr.Dataset]) -> Iterator[str]:
    height, width = catalogue.sizes["y"], catalogue.sizes["x"]
    yield page.paragraph(f"{catalogue.sizes['scene']} scenes of {height} x {width} pixels.")
    if catalogue.attrs.get("synthetic"):
        yield page.paragraph(str(catalogue.attrs.get("summary", "Synthetic data; nothing was measured.")))
    yield page.heading("Class prevalence")
    yield page.paragraph(
        "Share of the labelled pixels, counted in the masks. A scene with several tags is in several strata. Where "
        "shadows are not marked, clear may hide shadow."
    )
    prevalence = found["prevalence"]
    yield page.chart(charts.prevalence_chart(prevalence), "percentage of each class by stratum")
    yield page.table(summary.prevalence_table(prevalence))
    for name, title, dim in (("difficulty", "Difficulty", "difficulty"), ("tags", "Tags", "tag")):
        yield page.heading(title)
        scenes = found[name]["scenes"]
        yield page.chart(charts.shares_chart(scenes[dim].values.tolist(), scenes.to_numpy()), f"scenes by {dim}")
        yield page.table(summary.share_table(found[name]))
    yield page.heading("Tags that go together")
    yield page.paragraph("Scenes that have both of two tags; on the diagonal those that have one.")
    yield page.chart(charts.cooccurrence_chart(found["tag_cooccurrence"]["scenes"]), "scenes with both of two tags")
    yield page.heading("Agreement between the annotators")
    if "agreement" in found:
        yield page.paragraph("Annotator B against annotator A, over the scenes that both masked.")
        yield page.chart(charts.scores_chart(found["agreement"]), "F1 of each class by dataset")
        yield from _score_tables(found["agreement"])
    else:
        yield page.paragraph("There are no masks of both annotators here.")


def _evaluation_parts(part: xr.Dataset, counts: xr.Dataset, result: xr.Dataset, worst: int) -> Iterator[str]:
    yield page.paragraph(f"{part.sizes['scene']} scenes; {summary.settings(result)}.")
    yield page.heading("Scores by stratum")
    yield page.paragraph(
        "Pooled over the pixels of a stratum; a scene with several tags is in several strata. Intervals: bootstrap "
        "over independent groups of scenes. Cloud is scored on all scenes, clear and cloud shadow where shadows are "
        "marked."
    )
    for remark in summary.remarks(result):
        yield page.paragraph(f"{remark}.")
    yield page.chart(charts.scores_chart(result), _SCORES_CHART)
    yield from _score_tables(result)
    if "cloud_probability" in counts:
        yield page.heading("Precision and recall")
        curve = precision_recall(part, counts, None)
        yield page.chart(charts.curve_chart(curve, counts.attrs["threshold"]), "precision against recall of cloud")
    yield page.heading("Pixels left out")
    yield page.table(summary.ignored_table(result))
    scenes = list(_worst_scenes(part, counts, worst))
    yield page.heading(f"The {len(scenes)} worst scenes")
    yield page.paragraph("Lowest accuracy of cloud against non-cloud.")
    yield page.grid(scenes)


def _score_tables(result: xr.Dataset) -> Iterator[str]:
    yield page.table(summary.class_table(result))
    yield page.paragraph("All classes together: cloud against non-cloud, and three classes where they are predicted.")
    yield page.table(summary.overall_table(result))


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
        yield page.scene(picture, f"thumbnail of {at['scene'].item()}", caption)
