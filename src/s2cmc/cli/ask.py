"""Subcommands that ask a store: info, select, fractions, gallery."""

from pathlib import Path
from typing import Annotated

import typer

from s2cmc.cli import _tables
from s2cmc.cli._console import Store, StoreOption, Where, access_of, out
from s2cmc.errors import CatalogueError


def info(store: Store, store_option: StoreOption = None) -> None:
    """Show what a store holds. No pixel is read."""
    from s2cmc.store import open_group

    for table in _tables.overview(open_group(store, access_of(store_option))):
        out.print(table)


def select(
    store: Store,
    expression: Annotated[
        str | None, typer.Argument(metavar="EXPR", help="e.g. 'snow_ice and (thin or cirrus)'")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train or test.")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Only the product IDs, one a line.")] = False,
    store_option: StoreOption = None,
) -> None:
    """List the scenes that meet a tag expression. No pixel is read."""
    from s2cmc.store import open_catalogue

    chosen = open_catalogue(store, access_of(store_option)).clouds.select(expression, split=split)
    if ids:
        for scene in chosen["scene"].values:
            out.print(scene, highlight=False, soft_wrap=True)
    else:
        out.print(_tables.scenes(chosen))


def fractions(store: Store, where: Where = None, store_option: StoreOption = None) -> None:
    """Reduce the masks to the fraction of each class."""
    from s2cmc.store import open_catalogue

    chosen = open_catalogue(store, access_of(store_option)).clouds.select(where)
    out.print(_tables.fractions(chosen.clouds.class_fractions().compute()))


def gallery(
    store: Store,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="File to write, e.g. gallery.png.")],
    where: Where = None,
    columns: Annotated[int, typer.Option(min=1, help="Pictures in a row.")] = 4,
    most: Annotated[int, typer.Option(min=1, help="Scenes at most.")] = 16,
    store_option: StoreOption = None,
) -> None:
    """Draw scenes in true colour with the outlines of their masks."""
    from s2cmc.store import open_catalogue

    chosen = open_catalogue(store, access_of(store_option)).clouds.select(where)
    try:
        chosen.clouds.gallery(columns=columns, most=most).savefig(picture, dpi=110)
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{picture} cannot be written: {error}") from error
    out.print(f"picture of {min(most, chosen.sizes['scene'])} scenes in {picture}", highlight=False, soft_wrap=True)
