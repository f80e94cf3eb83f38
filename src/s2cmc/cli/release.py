"""Subcommands between a release and its store: sample, download, convert, verify, repair, restore, publish."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from s2cmc._redact import redacted
from s2cmc.cli._console import (
    GiveUp,
    Parts,
    Release,
    Scenes,
    StorageOption,
    Store,
    StoreOption,
    Workers,
    access_of,
    err,
    key_values,
    name_list,
    needs_convert,
    out,
    progress,
    resumable,
    scene_list,
    write_text,
)
from s2cmc.cli._tables import counted
from s2cmc.errors import CatalogueError
from s2cmc.release import ArrayFormat, Layout
from s2cmc.schema import ReflectanceType

if TYPE_CHECKING:
    from s2cmc.conversion.convert import Forecast

Unpacked = Annotated[bool, typer.Option("--unpacked", help="Write folders in place of one zip for each part.")]


def _layout(unpacked: bool) -> Layout:
    return "folder" if unpacked else "zip"


def sample(
    folder: Annotated[str, typer.Argument(metavar="OUT", help="New or empty folder.")],
    scenes: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 8,
    size: Annotated[int, typer.Option(min=16, help="Pixels along y and x; 1022 as published.")] = 256,
    seed: Annotated[int, typer.Option(help="Same seed, same release.")] = 0,
    quirks: Annotated[bool, typer.Option("--quirks", help="Plant the known quirks of the real release.")] = False,
    unpacked: Unpacked = False,
    arrays: Annotated[ArrayFormat, typer.Option(help="Format of the arrays.")] = "npy",
) -> None:
    """Write a small synthetic release in the published layout."""
    needs_convert()
    from s2cmc.storage import locate
    from s2cmc.synthetic import make_release

    out_folder, layout = Path(locate(folder)), _layout(unpacked)
    make_release(out_folder, scenes=scenes, size=size, seed=seed, quirks=quirks, layout=layout, arrays=arrays)
    out.print(
        f"synthetic release of {scenes} scenes of {size} x {size} pixels in {folder}", highlight=False, soft_wrap=True
    )


def download(
    record: Annotated[
        str,
        typer.Argument(metavar="RECORD", help="zenodo:4172871, its DOI, or the URL of any InvenioRDM record's page."),
    ],
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Made if it is absent.")],
    give_up: GiveUp = "30m",  # type: ignore[assignment]  # typer parses defaults too
) -> None:
    """Download the files of a record and prove each by its MD5. Killed and run again, it resumes."""
    needs_convert()
    from s2cmc.conversion import download as run

    with progress("downloading", in_bytes=True) as advance, resumable():
        files = run(record, folder, give_up=give_up, progress=advance)
    for file in files:
        remark = ", was here already" if file.was_there else ""
        line = f"{file.path.name}: {file.nbytes:,} bytes, MD5 {file.md5} as listed{remark}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    said = f"{redacted(record)}: {counted(len(files), 'file')} in {folder}; next: s2cmc convert {folder} STORE"
    out.print(said, highlight=False, markup=False, soft_wrap=True)


def convert(
    release: Release,
    store: Annotated[str, typer.Argument(metavar="STORE", help="Folder, or URL of a bucket.")],
    scenes: Scenes = None,
    skip: Annotated[
        str | None,
        typer.Option(metavar="IDS|FILE", help="Product IDs to leave out, separated by commas, or a file of them."),
    ] = None,
    workers: Workers = None,
    reflectance: Annotated[
        ReflectanceType, typer.Option(help="Digital numbers, or the published floats as they are.")
    ] = "uint16",
    thumbnails: Annotated[bool, typer.Option("--thumbnails/--no-thumbnails", help="Keep the thumbnails.")] = True,
    from_dn: Annotated[bool, typer.Option("--from-dn", help="The arrays of RELEASE hold DN, not reflectance.")] = False,
    keep_columns: Annotated[
        bool, typer.Option("--keep-columns", help="Keep columns of your own in the table as coordinates.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what STORE holds.")] = False,
    keep: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Of a record: keep what is fetched, as its files.")
    ] = None,
    give_up: GiveUp = "30m",  # type: ignore[assignment]  # typer parses defaults too
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler, e.g. tcp://host:8786, whose workers do the work. They need s2cmc[convert] of this "
            "version, RELEASE and STORE under these very paths or URLs, and credentials of their own.",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only say what it would take; converts one scene in memory and writes nothing."),
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None,
    storage_option: StorageOption = None,
    store_option: StoreOption = None,
) -> None:
    """Convert a release into one Zarr store. Killed and run again, it resumes."""
    if report and not report.parent.is_dir():
        raise CatalogueError(f"{report} cannot be written: there is no folder {report.parent}")
    needs_convert()
    if plan:
        from s2cmc.conversion.convert import forecast

        _show(
            forecast(
                release,
                scenes=scene_list(scenes),
                skip=scene_list(skip) or (),
                workers=workers or _threads(scheduler),
                reflectance=reflectance,
                thumbnails=thumbnails,
                from_dn=from_dn,
                keep_columns=keep_columns,
                give_up=give_up,
                release_options=key_values(storage_option, "--storage-option"),
            )
        )
        return
    from s2cmc.conversion.convert import convert as run

    with progress("converting", in_bytes=True) as advance, resumable():
        result = run(
            release,
            store,
            scenes=scene_list(scenes),
            skip=scene_list(skip) or (),
            workers=workers,
            reflectance=reflectance,
            thumbnails=thumbnails,
            from_dn=from_dn,
            keep_columns=keep_columns,
            overwrite=overwrite,
            keep=keep,
            give_up=give_up,
            release_options=key_values(storage_option, "--storage-option"),
            access=access_of(store_option),
            scheduler=scheduler,
            progress=advance,
        )
    out.print("conversion report", style="bold")
    for line in result.lines():
        out.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if report:
        write_text(report, result.to_json() + "\n")


def _threads(scheduler: str | None) -> int:
    """Workers by default: of the cluster as it is now, or of this machine."""
    if scheduler is None:
        return os.cpu_count() or 1
    from s2cmc.conversion.convert import connected, threads

    with connected(scheduler) as client:
        return max(1, threads(client))


def _show(plan: "Forecast") -> None:
    table = Table(title=f"conversion of {counted(plan.scenes, 'scene')}; nothing is written")
    for name in ("array", "tasks", "read MB", "written MB", "thread seconds"):
        table.add_column(name, justify="left" if name == "array" else "right")
    for a in plan.arrays:
        size = f"{a.read_nbytes / 1e6:,.1f}", f"{a.written_nbytes / 1e6:,.1f}"
        table.add_row(a.name, f"{a.tasks:,}", *size, f"{a.seconds:,.1f}")
    table.add_row("metadata", "", "", f"{plan.metadata_nbytes / 1e6:,.1f}", "")
    table.add_section()
    size = f"{plan.read_nbytes / 1e6:,.1f}", f"{plan.written_nbytes / 1e6:,.1f}"
    table.add_row("all", f"{plan.tasks:,}", *size, f"{sum(a.seconds for a in plan.arrays):,.1f}")
    out.print(table)
    lines = [plan.way] if plan.way else []
    lines += [
        f"requests: {plan.reads:,} read pixels, {plan.puts:,} write; the store has {plan.objects:,} objects",
        f"time: {plan.seconds:,.1f} s with {counted(plan.workers, 'worker')} that do not slow each other down",
        f"measured on {plan.measured_scene}, loaded and encoded in memory by one thread: bytes written for a byte read "
        + ", ".join(f"{a.ratio:.2f} ({a.name})" for a in plan.arrays if a.ratio),
    ]
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def verify(
    store: Annotated[str | None, typer.Argument(metavar="STORE", help="Path or URL of a store.")] = None,
    release: Annotated[
        str | None, typer.Argument(metavar="[RELEASE]", help="The release it was converted from.")
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(metavar="RELEASE", help="Instead of a store, a release: each file against the published MD5."),
    ] = None,
    workers: Workers = None,
    storage_option: StorageOption = None,
    store_option: StoreOption = None,
) -> None:
    """Prove that every chunk is intact and, with RELEASE, equal to its source bit for bit."""
    needs_convert()
    if (store is None) == (published is None):
        raise typer.BadParameter("give either STORE or --published RELEASE", param_hint="STORE")
    if store is None:
        _verify_published(str(published), workers, storage_option)
        return
    from s2cmc.conversion.verify import verify as run

    with progress("verifying") as advance:
        options = key_values(storage_option, "--storage-option")
        access = access_of(store_option)
        problems = run(store, release, workers=workers, release_options=options, access=access, progress=advance)
    for problem in problems:
        out.print(problem, highlight=False, markup=False, soft_wrap=True)
    _show_hit([pair for problem in problems for pair in problem.hit])
    if problems:
        err.print(
            f"{redacted(store)}: {counted(len(problems), 'difference')}; `s2cmc repair` repairs them",
            style="red",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(1)
    compared = f", and every scene in it equals {redacted(release)} bit for bit" if release else ""
    said = f"{redacted(store)}: every object is there, every checksum holds{compared}"
    out.print(said, highlight=False, soft_wrap=True)


def _verify_published(release: str, workers: int | None, storage_option: list[str] | None) -> None:
    from s2cmc.conversion.source import verify_published as run

    with progress("reading", in_bytes=True) as advance:
        options = key_values(storage_option, "--storage-option")
        reports = run(release, workers=workers, release_options=options, progress=advance)
    for report in reports:
        out.print(report.text, highlight=False, markup=False, soft_wrap=True)
    ours = [report for report in reports if report.state != "foreign"]
    matching = sum(report.state == "matches" for report in ours)
    said = f"{redacted(release)}: {matching} of {len(ours)} published files are here and match"
    if matching < len(ours):
        err.print(said, style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)
    out.print(said, highlight=False, markup=False, soft_wrap=True)


def repair(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Folder, or URL of a bucket.")],
    release: Release,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be rewritten.")] = False,
    workers: Workers = None,
    storage_option: StorageOption = None,
    store_option: StoreOption = None,
) -> None:
    """Rewrite what is damaged in STORE from the release it was converted from. Killed and run again, it goes on."""
    needs_convert()
    from s2cmc.conversion.repair import repair as run

    with progress("repairing") as advance, resumable():
        done = run(
            store,
            release,
            dry_run=dry_run,
            workers=workers,
            release_options=key_values(storage_option, "--storage-option"),
            access=access_of(store_option),
            progress=advance,
        )
    would = "would be " if dry_run else ""
    for verb, keys in ((f"{would}rewritten", done.rewritten), (f"{would}removed", done.removed)):
        for key in keys:
            out.print(f"{verb}: {key}", highlight=False, markup=False, soft_wrap=True)
    for key in done.foreign:
        out.print(f"foreign, and left alone: {key}", highlight=False, markup=False, soft_wrap=True)
    _show_hit([(scene, name) for scene, names in done.scenes.items() for name in names])
    rewritten, removed = counted(len(done.rewritten), "object"), counted(len(done.removed), "object")
    out.print(f"{done.url}: {rewritten} {would}rewritten, {removed} {would}removed", highlight=False, soft_wrap=True)


def _show_hit(pairs: Sequence[tuple[str, str]]) -> None:
    """Show the affected scenes, each with its affected variables."""
    hit: dict[str, list[str]] = {}
    for scene, name in dict.fromkeys(pairs):
        hit.setdefault(scene, []).append(name)
    for scene, names in hit.items():
        out.print(f"hit: {scene} ({', '.join(names)})", highlight=False, markup=False, soft_wrap=True)


def restore(
    store: Store,
    folder: Annotated[str, typer.Argument(metavar="OUT", help="New or empty folder.")],
    unpacked: Unpacked = False,
    arrays: Annotated[ArrayFormat, typer.Option(help="Format of the arrays.")] = "npy",
    parts: Parts = None,
    store_option: StoreOption = None,
) -> None:
    """Write the release that STORE was converted from."""
    needs_convert()
    from s2cmc.conversion.export import restore as run

    with progress("restoring") as advance:
        run(
            store,
            folder,
            layout=_layout(unpacked),
            arrays=arrays,
            parts=name_list(parts),
            access=access_of(store_option),
            progress=advance,
        )
    out.print(f"{redacted(store)} restored into {folder}", highlight=False, soft_wrap=True)


def publish(
    store: Store,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where others read it: a bucket, or a folder.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Objects under way at once; four a core.")] = None,
    store_option: StoreOption = None,
    url_option: Annotated[
        list[str] | None,
        typer.Option("--url-option", metavar="KEY=VALUE", help="How URL is reached; as --store-option."),
    ] = None,
) -> None:
    """Copy a finished store to URL as its latest version. Killed and run again, it resumes."""
    needs_convert()
    from s2cmc.conversion.publish import publish as run

    with progress("publishing") as advance, resumable():
        source, target = access_of(store_option), access_of(url_option, "--url-option")
        done = run(store, url, workers=workers, source_access=source, access=target, progress=advance)
    out.print(
        f"{redacted(store)} is published as {done.url}: {done.copied} objects copied, {done.kept} were there, "
        f"{done.nbytes / 1e6:.1f} MB; {url} opens it from now on",
        highlight=False,
        soft_wrap=True,
    )
