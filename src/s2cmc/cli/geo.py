"""Subcommands that take scenes elsewhere: export, metadata, window, georeference."""

from typing import Annotated

import typer

from s2cmc.cli._console import (
    Parts,
    Scenes,
    Store,
    StoreOption,
    Workers,
    access_of,
    name_list,
    needs_convert,
    out,
    progress,
    resumable,
    scene_list,
)
from s2cmc.cli._selection import Conditions, takes_conditions
from s2cmc.cli._tables import counted
from s2cmc.schema import ExportFormat

_Scene = Annotated[
    str,
    typer.Argument(metavar="SCENE", help="Product ID, a prefix of one, tile and date: 'T18SVG 2018', or position."),
]
_OutOption = Annotated[
    list[str] | None,
    typer.Option("--out-option", metavar="KEY=VALUE", help="How OUT is reached, if not as STORE; as --store-option."),
]


@takes_conditions
def export(
    store: Store,
    folder: Annotated[str, typer.Argument(metavar="OUT", help="New folder, or URL of a bucket.")],
    conditions: Conditions,
    format: Annotated[  # noqa: A002, the option
        ExportFormat, typer.Option(help="cog and geotiff in the UTM zone of each scene; npz and npy as published.")
    ] = "cog",
    scenes: Scenes = None,
    bands: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of cog and geotiff, e.g. B04,B03,B02; all by default.")
    ] = None,
    parts: Parts = None,
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what another export left in OUT.")] = False,
    store_option: StoreOption = None,
    out_option: _OutOption = None,
) -> None:
    """Write scenes as GeoTIFF, NumPy, PNG or a smaller store. Killed and run again, it resumes."""
    needs_convert()
    from s2cmc.conversion.export import export as run

    with progress("exporting") as advance, resumable():
        done = run(
            store,
            folder,
            where=conditions.pop("expression", None),
            format=format,
            scenes=scene_list(scenes),
            bands=name_list(bands),
            parts=name_list(parts),
            workers=workers,
            overwrite=overwrite,
            access=access_of(store_option),
            out_access=None if out_option is None else access_of(out_option, "--out-option"),
            progress=advance,
            **conditions,
        )
    what = "shard" if format == "zarr" else "file"
    others = f"; {counted(done.others, 'file')} of other scenes are there from earlier exports" if done.others else ""
    out.print(
        f"{counted(done.scenes, 'scene')} in {folder}: {counted(done.written, what)} written, {done.kept} were there, "
        f"{done.nbytes / 1e6:.1f} MB{others}",
        highlight=False,
        soft_wrap=True,
    )


def metadata(
    store: Store,
    folder: Annotated[
        str | None, typer.Argument(metavar="[OUT]", help="Folder, or URL of a bucket; beside STORE by default.")
    ] = None,
    store_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Public URL of STORE, to point to; the relative path by default.")
    ] = None,
    store_option: StoreOption = None,
    out_option: _OutOption = None,
) -> None:
    """Write STAC, GeoParquet and Croissant of a store beside it. No pixel is read."""
    needs_convert()
    from s2cmc.conversion.metadata import describe as run

    out_access = None if out_option is None else access_of(out_option, "--out-option")
    done = run(store, folder, store_url=store_url, access=access_of(store_option), out_access=out_access)
    unplaced = f" ({done.unplaced} of them without footprint)" if done.unplaced else ""
    out.print(
        f"{counted(done.items, 'item')}{unplaced}, {', '.join(done.paths)} in {done.url}, {done.nbytes / 1e6:.1f} MB",
        highlight=False,
        soft_wrap=True,
    )


def window(store: Store, scene: _Scene, store_option: StoreOption = None) -> None:
    """Show where a scene is in its original Level-1C product, and where to find the product."""
    from s2cmc.store import open_catalogue

    window = open_catalogue(store, access_of(store_option)).clouds.l1c_window(_key(scene))
    out.print(str(window), highlight=False, markup=False, soft_wrap=True)


def georeference(
    store: Store,
    scene: _Scene,
    source: Annotated[str, typer.Argument(metavar="SAFE", help="The product's SAFE folder, a zip of it, or its JP2s.")],
    band: Annotated[str, typer.Option(help="One of 20 m.")] = "B11",
    store_option: StoreOption = None,
) -> None:
    """Compare a scene with its original pixel by pixel, in every placement around its own."""
    from s2cmc.store import open_catalogue

    check = open_catalogue(store, access_of(store_option)).clouds.check_georeference(_key(scene), source, band=band)
    out.print(str(check), highlight=False, markup=False, soft_wrap=True)
    if not check.passes:
        raise typer.Exit(1)


def _key(scene: str) -> str | int:
    """Return the key of a scene; digits alone are a position, as no product ID, prefix or tile is made of them."""
    return int(scene) if scene.isdecimal() else scene
