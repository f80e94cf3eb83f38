"""Subcommands of statistics and evaluation: stats, evaluate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2cmc._redact import redacted
from s2cmc.cli import _tables
from s2cmc.cli._console import Store, StoreOption, access_of, check_files, out, show, show_written, write_text
from s2cmc.cli._selection import By, Conditions, questions, takes_conditions
from s2cmc.errors import CatalogueError
from s2cmc.query import Annotator

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write every number as JSON.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write every number as CSV.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page with charts.")]


@takes_conditions
def stats(
    store: Store,
    conditions: Conditions,
    by: By = None,
    json_file: Json = None,
    csv_file: Csv = None,
    html_file: Html = None,
    store_option: StoreOption = None,
) -> None:
    """Show the catalogue's own tables: class prevalence, difficulty, tags, agreement of the annotators."""
    from s2cmc import report

    check_files(json_file, csv_file, html_file)
    if html_file:
        report.require_page_packages()
    chosen = _chosen(store, store_option, conditions)
    tables = report.gather_statistics(chosen, questions(by) or report.DEFAULT_BY)
    written = []  # files first: a closed pipe ends what is printed
    if json_file:
        written.append((json_file, report.to_json(tables)))
    if csv_file:
        written.append((csv_file, report.to_csv(tables)))
    if html_file:
        written.append((html_file, report.statistics_page(chosen, tables)))
    _write(written)
    _show("class prevalence, % of the labelled pixels", report.prevalence_table(tables["prevalence"]))
    _show("difficulty", report.share_table(tables["difficulty"]))
    _show("tags", report.share_table(tables["tags"]))
    if "agreement" in tables:
        _show_scores("annotator B against annotator A", tables["agreement"])
    else:
        out.print("no scene here has masks of both annotators")
    show_written(file for file, _ in written)


@takes_conditions
def evaluate(
    store: Store,
    predictions: Annotated[
        str,
        typer.Argument(metavar="PREDICTIONS", help="Folder, zip or Zarr of predictions named by scene."),
    ],
    conditions: Conditions,
    by: By = None,
    class_map: Annotated[
        str | None,
        typer.Option(help="What labels mean: catalogue, binary, s2cloudless, sen2cor, fmask, cloudsen12, ..."),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="For probabilities: cloud from here on.")] = None,
    boundary_buffer: Annotated[
        int, typer.Option(min=0, help="Leave out so many pixels on each side of a class boundary.")
    ] = 0,
    merge_shadow: Annotated[bool, typer.Option("--merge-shadow", help="Count shadow as clear.")] = False,
    truth: Annotated[Annotator, typer.Option(help="Whose masks are the truth.")] = "primary",
    resamples: Annotated[int, typer.Option(min=1, help="Resamples of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same intervals.")] = 0,
    json_file: Json = None,
    csv_file: Csv = None,
    html_file: Html = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    store_option: StoreOption = None,
) -> None:
    """Score predictions against the masks by stratum, beside the human ceiling."""
    from s2cmc import report

    check_files(json_file, csv_file, html_file, markdown_file)
    if html_file:
        report.require_page_packages()
    chosen = _chosen(store, store_option, conditions)
    counts = chosen.clouds.confusion(
        predictions,
        class_map=class_map,
        threshold=threshold,
        boundary_buffer=boundary_buffer,
        merge_shadow=merge_shadow,
        truth=truth,
    ).compute()
    result = chosen.clouds.evaluate(counts, questions(by), resamples=resamples, seed=seed)
    result.attrs |= {"store": redacted(store), "prediction": redacted(predictions)} | _described(conditions, by)
    written = []  # files first: a closed pipe ends what is printed
    if json_file:
        written.append((json_file, json.dumps({"settings": result.attrs, "scores": report.records(result)}, indent=1)))
    if csv_file:
        written.append((csv_file, result.to_dataframe().to_csv()))
    if html_file:
        written.append((html_file, report.evaluation_page(chosen, counts, result, worst=12)))
    if markdown_file:
        written.append((markdown_file, result.evaluation.to_markdown()))
    _write(written)
    out.print(report.settings(result), highlight=False, markup=False, soft_wrap=True)
    _show_scores("prediction against masks", result)
    _show("pixels left out of all strata together", report.ignored_table(result.isel(stratum=[0])))
    for remark in report.remarks(result):
        out.print(remark, highlight=False, soft_wrap=True)
    show_written(file for file, _ in written)


def _chosen(store: str, store_option: list[str] | None, conditions: Conditions) -> "xr.Dataset":
    from s2cmc.store import open_catalogue

    chosen = open_catalogue(store, access_of(store_option)).clouds.select(**conditions)
    if not chosen.sizes["scene"]:
        raise CatalogueError(f"no scene of {store} is left to look at; choose another --where or --split")
    return chosen


def _described(conditions: Conditions, by: list[str] | None) -> dict[str, str]:
    """Describe the conditions and the questions as attributes of a result."""
    described = {}
    for name, value in {**conditions, "by": by or None}.items():
        if isinstance(value, tuple):  # an interval of time
            text = "/".join(end or ".." for end in value)
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if value is not None:
            described["where" if name == "expression" else name] = text
    return described


def _show(title: str, frame: "pd.DataFrame") -> None:
    out.print()
    show(_tables.frame(frame, title))


def _show_scores(title: str, result: "xr.Dataset") -> None:
    """Show what fits into 80 columns; the files have every number."""
    from s2cmc import report

    scores = report.class_table(result).drop(columns=["groups", "IoU", "bal.acc."])
    for mask_class in scores["class"].unique():
        _show(f"{title}: {mask_class}", scores[scores["class"] == mask_class].drop(columns="class"))
    problems = "cloud or not, and 3 classes" if "three_class_accuracy" in result else "cloud or not"
    overall = report.overall_table(result, intervals=False).drop(columns="groups")
    _show(f"{title}: {problems}", overall)


def _write(written: list[tuple[Path, str]]) -> None:
    for file, text in written:
        write_text(file, text)
