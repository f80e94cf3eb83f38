"""Subcommands that ask a store: info, select, fractions, gallery."""

import json
from pathlib import Path
from typing import Annotated

import typer

from s2cmc.cli import _tables
from s2cmc.cli._console import Store, StoreOption, access_of, check_files, out, show, show_written, write_text
from s2cmc.cli._selection import Conditions, takes_conditions
from s2cmc.errors import CatalogueError


def info(store: Store, store_option: StoreOption = None) -> None:
    """Show what a store holds. No pixel is read."""
    from s2cmc.store import open_group

    for table in _tables.overview(open_group(store, access_of(store_option))):
        show(table)


@takes_conditions
def select(
    store: Store,
    expression: Annotated[
        str | None, typer.Argument(metavar="EXPR", help="e.g. 'snow_ice and (thin or cirrus)'")
    ] = None,
    *,
    conditions: Conditions,
    ids: Annotated[bool, typer.Option("--ids", help="Only the product IDs, one a line.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every coordinate of the scenes as JSON.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every coordinate of the scenes as CSV.")
    ] = None,
    geojson_file: Annotated[
        Path | None, typer.Option("--geojson", metavar="FILE", help="Write these with the footprints, as GeoJSON.")
    ] = None,
    store_option: StoreOption = None,
) -> None:
    """List the scenes that meet every condition. No pixel is read."""
    from s2cmc import report
    from s2cmc.geo import feature_collection
    from s2cmc.store import open_catalogue

    check_files(json_file, csv_file, geojson_file)
    chosen = open_catalogue(store, access_of(store_option)).clouds.select(expression).clouds.select(**conditions)
    table = report.scene_table(chosen)
    written = []  # files first: a closed pipe ends what is printed
    if json_file:
        written.append((json_file, json.dumps(report.frame_records(table), indent=1)))
    if csv_file:
        written.append((csv_file, table.to_csv(index=False)))
    if geojson_file:
        written.append((geojson_file, json.dumps(feature_collection(chosen, report.frame_records(table)))))
    for file, text in written:
        write_text(file, text)
    if ids:
        for scene in chosen["scene"].values:
            out.print(scene, highlight=False, soft_wrap=True)
    else:
        show(_tables.scenes(chosen))
        show_written(file for file, _ in written)


@takes_conditions
def fractions(store: Store, conditions: Conditions, store_option: StoreOption = None) -> None:
    """Reduce the masks to the fraction of each class."""
    from s2cmc.store import open_catalogue

    chosen = open_catalogue(store, access_of(store_option)).clouds.select(**conditions)
    show(_tables.fractions(chosen.clouds.class_fractions().compute()))


@takes_conditions
def gallery(
    store: Store,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="File to write, e.g. gallery.png.")],
    conditions: Conditions,
    columns: Annotated[int, typer.Option(min=1, help="Pictures in a row.")] = 4,
    most: Annotated[int, typer.Option(min=1, help="Scenes at most.")] = 16,
    store_option: StoreOption = None,
) -> None:
    """Draw scenes in true colour with the outlines of their masks."""
    from s2cmc.store import open_catalogue

    chosen = open_catalogue(store, access_of(store_option)).clouds.select(**conditions)
    try:
        chosen.clouds.gallery(columns=columns, most=most).savefig(picture, dpi=110)
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{picture} cannot be written: {error}") from error
    out.print(f"picture of {min(most, chosen.sizes['scene'])} scenes in {picture}", highlight=False, soft_wrap=True)
