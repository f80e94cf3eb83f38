"""What the subcommands share: where they print, and the arguments that several have."""

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from s2cmc.errors import CatalogueError
from s2cmc.schema import CLASS_NAMES, DATASETS, DIFFICULTIES
from s2cmc.storage import Access, make_access

# How the command ends when it is told to: in order, and with the exit code that shells have for the signal.

_FROM_SIGNAL = 128  # what shells add to the number of a signal
_SIGPIPE = 13  # Windows does not name it
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(KeyboardInterrupt):
    """A signal that asks to end: whatever ends in order on Ctrl-C does so here too."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class PipedConsole(Console):
    """A console whose reader may leave before the end, as ``head`` does."""

    def on_broken_pipe(self) -> None:
        """End without a word."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is flushed at the end goes there
        raise SystemExit(_FROM_SIGNAL + _SIGPIPE)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` on SIGTERM and SIGHUP; what is ignored, as SIGHUP under ``nohup``, stays so."""
    before = {}
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise Stopped(number)

    if threading.current_thread() is threading.main_thread():  # others get no signals
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    except SystemExit as ended:
        if received and ended.code == _FROM_SIGNAL + signal.SIGINT:  # typer knows no other signal
            raise SystemExit(_FROM_SIGNAL + received[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_stopped(error: KeyboardInterrupt) -> tuple[str, int]:
    """What to say of a signal, and the exit code: 130 of SIGINT, 143 of SIGTERM, 129 of SIGHUP."""
    number = error.number if isinstance(error, Stopped) else signal.SIGINT
    return _WORDS.get(signal.Signals(number), "hung up"), _FROM_SIGNAL + number


out = PipedConsole()
err = PipedConsole(stderr=True)

Store = Annotated[str, typer.Argument(metavar="STORE", help="Path or URL of a store.")]
Release = Annotated[str, typer.Argument(metavar="RELEASE", help="Folder or URL in the published layout.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; one for each core by default.")]
Where = Annotated[str | None, typer.Option(metavar="EXPR", help="Tag expression, e.g. 'snow_ice and thin'.")]
Scenes = Annotated[
    str | None,
    typer.Option(metavar="IDS|FILE", help="Product IDs, separated by commas, or a file with one a line."),
]
StorageOption = Annotated[
    list[str] | None,
    typer.Option("--storage-option", metavar="KEY=VALUE", help="Option of RELEASE's file system, e.g. anon=true."),
]
StoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--store-option",
        "-o",
        metavar="KEY=VALUE",
        help="How STORE is reached: anonymous, endpoint_url, region, profile, requester_pays, backend, timeout, "
        "cache_dir, ... as open_catalogue takes them.",
    ),
]

_TEXT = re.compile(".*(key|secret|token|name|id|url|profile|region|backend|dir|endpoint)")
"""Options whose values are text, also where they look like numbers."""


def access_of(pairs: list[str] | None, option: str = "--store-option") -> Access:
    """What ``--store-option`` says, or another of its kind."""
    return make_access(key_values(pairs, option))


def key_values(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """``KEY=VALUE``, where the value is JSON if it reads as such and is not always text."""
    options: dict[str, Any] = {}
    for pair in pairs or []:
        key, separator, value = pair.partition("=")
        if not separator:
            name = pair.partition(" ")[0].partition(":")[0]  # what follows may be a secret
            raise typer.BadParameter(f"{name!r} is not of the form KEY=VALUE", param_hint=option)
        try:
            options[key] = value if _TEXT.fullmatch(key) else json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options


@contextmanager
def progress(verb: str, *columns: Any) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something goes on; what is given is told how much is done, and how much there is."""
    shown = (TextColumn(verb), BarColumn(), *columns, TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*shown, console=err) as bar:
        task = bar.add_task(verb, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@contextmanager
def resumable() -> Iterator[None]:
    """Say what becomes of what is done when a signal ends it."""
    with ending("; what is done is kept, and the same command resumes"):
        yield


@contextmanager
def ending(remark: str = "") -> Iterator[None]:
    """End with a word, and not with a traceback, on a signal that asks to."""
    try:
        yield
    except KeyboardInterrupt as error:
        word, code = how_stopped(error)
        err.print(f"{word}{remark}", highlight=False, soft_wrap=True)
        raise typer.Exit(code) from None


def write_text(path: Path, text: str) -> None:
    """Write a file that an option names."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"{path} cannot be written: {error}") from error


def needs_convert() -> None:
    """Refuse what needs the `convert` extra where it is not installed."""
    try:
        import filelock  # noqa: F401
        import obstore  # noqa: F401
        import PIL  # noqa: F401
        import shapefile  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[convert]'") from error


def scene_list(text: str | None) -> list[str] | None:
    """What ``--scenes`` names."""
    if text is None:
        return None
    path = Path(text)
    try:
        names = path.read_text(encoding="utf-8").split() if len(text) < 255 and path.is_file() else text.split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(
            f"{path} cannot be read: {error}; expected a text in UTF-8, a product ID a line"
        ) from error
    return [name.strip() for name in names if name.strip()]


# What the command shows of a catalogue, as rich tables.


def counted(number: int, noun: str) -> str:
    """``1 scene``, ``2 scenes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def overview(catalogue: xr.Dataset) -> list[Table]:
    """What a catalogue holds: facts, and how often each tag is set."""
    return [_facts(catalogue), _tag_frequencies(catalogue)]


def scenes(catalogue: xr.Dataset) -> Table:
    """One row for each scene: ID, date, difficulty, cloud, tags."""
    table = Table(title=counted(catalogue.sizes["scene"], "scene"))
    table.add_column("scene", overflow="fold", min_width=20)
    table.add_column("date", no_wrap=True)
    table.add_column("diff.", justify="right")
    table.add_column("cloud %", justify="right")
    table.add_column("tags", min_width=18)
    tags = catalogue.clouds.tags
    names = tags["tag"].to_numpy()
    for i, scene in enumerate(catalogue["scene"].to_numpy()):
        table.add_row(
            str(scene),
            np.datetime_as_string(catalogue["time"].to_numpy()[i], unit="D"),
            str(catalogue["difficulty"].to_numpy()[i]),
            f"{catalogue['cloud_percent'].to_numpy()[i]:.1f}",
            ", ".join(names[tags.to_numpy()[i]]),
        )
    return table


def fractions(found: xr.DataArray) -> Table:
    """Fractions (scene, mask_class) in percent, one row for each scene, and their mean."""
    table = Table(title="pixels of each class, %")
    table.add_column("scene", overflow="fold", min_width=30)
    for name in CLASS_NAMES:
        table.add_column(name, justify="right")
    for scene, row in zip(found["scene"].to_numpy(), found.to_numpy(), strict=True):
        table.add_row(str(scene), *(f"{100 * value:.2f}" for value in row))
    if len(found):
        table.add_section()
        table.add_row(
            f"mean of {counted(len(found), 'scene')}",
            *(f"{100 * value:.2f}" for value in found.mean("scene").to_numpy()),
        )
    return table


def _facts(catalogue: xr.Dataset) -> Table:
    table = Table(title=catalogue.attrs.get("title"), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    sizes = catalogue.sizes
    table.add_row("scenes", f"{sizes['scene']}, in {len(np.unique(catalogue['group']))} independent groups")
    table.add_row("pixels", f"{sizes['y']} x {sizes['x']} of 20 m, {sizes['band']} bands")
    if sizes["scene"]:
        days = np.datetime_as_string(np.sort(catalogue["time"].to_numpy())[[0, -1]], unit="D")
        table.add_row("time", " to ".join(days))
    table.add_row("datasets", _counts(catalogue["dataset"].to_numpy(), DATASETS))
    table.add_row("annotators", _counts(catalogue["annotator"].to_numpy(), sorted(set(catalogue["annotator"].values))))
    table.add_row("difficulty", _counts(catalogue["difficulty"].to_numpy(), DIFFICULTIES))
    table.add_row("shadows marked", str(int(catalogue["shadows_marked"].sum())))
    table.add_row("second mask", str(int(catalogue["has_alt_mask"].sum())))
    for name in ("percentages_agree", "tags_consistent", "shadows_consistent"):
        table.add_row(f"not {name}", str(int((~catalogue[name]).sum())))
    for name in ("converter", "format_version", "license", "doi"):
        if name in catalogue.attrs:
            table.add_row(name.replace("_", " "), str(catalogue.attrs[name]))
    return table


def _tag_frequencies(catalogue: xr.Dataset) -> Table:
    table = Table(title="scenes with each tag")
    table.add_column("question")
    table.add_column("tags")
    count = catalogue.clouds.tags.sum("scene")
    for group, names in catalogue.clouds.tag_groups.items():
        table.add_row(group, ", ".join(f"{name} {int(count.sel(tag=name))}" for name in names))
    return table


def _counts(values: np.ndarray, names: "tuple[object, ...] | list[object]") -> str:
    return ", ".join(f"{name} {int((values == name).sum())}" for name in names)


def frame(found: pd.DataFrame, title: str) -> Table:
    """Any frame of text, without its index. Its first column folds where the terminal is narrow."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(found.columns):
        if i == 0:
            table.add_column(str(name), overflow="fold", min_width=10)
        else:
            table.add_column(str(name), justify="right", no_wrap=True)
    for row in found.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in row))  # names of strata are no markup
    return table
