"""Output, options, progress bars and signals that the subcommands share."""

import io
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement

from s2cmc._redact import redacted
from s2cmc.errors import CatalogueError

if TYPE_CHECKING:
    from rich.table import Table

    from s2cmc.storage import Access

# How the command ends on a signal: in order, and with the exit code that shells have for the signal.

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
    """Return the word for a signal, and its exit code: 130 of SIGINT, 143 of SIGTERM, 129 of SIGHUP."""
    number = error.number if isinstance(error, Stopped) else signal.SIGINT
    return _WORDS.get(signal.Signals(number), "hung up"), _FROM_SIGNAL + number


def escape_unprintable() -> None:
    """Escape letters that an output cannot hold, such as those of a path on a terminal of another encoding.

    By default they would be an error, after the work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


out = PipedConsole()
err = PipedConsole(stderr=True)

_WIDEST = 10_000
"""Columns of a table at most."""

Store = Annotated[str, typer.Argument(metavar="STORE", help="Path or URL of a store.")]
Release = Annotated[
    str,
    typer.Argument(metavar="RELEASE", help="Folder, zip or URL in the published layout, or a record: zenodo:4172871."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; one for each core by default.")]
Scenes = Annotated[
    str | None,
    typer.Option(metavar="IDS|FILE", help="Product IDs, separated by commas, or a file with one a line."),
]
Parts = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Parts of the published layout, e.g. subscenes,masks; all by default."),
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

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """Return the seconds that a duration of the command line means: ``90``, ``90s``, ``30m``, ``2h``, ``1d``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    if not match or float(match[1]) == 0:
        raise typer.BadParameter(f"{text!r} is not a duration; expected seconds, or a number with s, m, h or d: 30m")
    return float(match[1]) * _UNITS[match[2]]


GiveUp = Annotated[
    float,
    typer.Option(parser=seconds, metavar="DURATION", help="End when nothing has arrived for so long: 90, 30m, 2h."),
]

_TEXT = re.compile(".*(key|secret|token|name|id|url|profile|region|backend|dir|endpoint)")
"""Options whose values are text, also where they look like numbers."""


def access_of(pairs: list[str] | None, option: str = "--store-option") -> "Access":
    """Return the access that ``--store-option``, or another option of its kind, asks for."""
    from s2cmc.storage import make_access

    return make_access(key_values(pairs, option))


def name_list(text: str | None) -> list[str] | None:
    """Return names that are separated by commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


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
def progress(verb: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while work goes on; the callable takes how many items, or bytes, are done and how many there are.

    On a terminal, the bar also shows the last wait that reading a record logged, until something arrives again.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    time = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
    description = TextColumn("{task.description}", markup=False)
    with Progress(description, BarColumn(), *amount, *time, console=err) as bar:
        task = bar.add_task(verb, total=None, visible=False)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True, description=verb)

        with _waits_shown(lambda text: bar.update(task, visible=True, description=f"{verb} ({text})")):
            yield advance


_WAITING = "s2cmc.conversion.records"
"""Name of the logger of waits."""


class _Waits(logging.Handler):
    """Handler that shows each record in a progress bar."""

    def __init__(self, show_text: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show_text = show_text

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._show_text(redacted(record.getMessage()))


@contextmanager
def _waits_shown(show_text: Callable[[str], None]) -> Iterator[None]:
    """Show waits in a progress bar instead of lines above it; where there is no terminal, there is no bar either."""
    logger, handler = logging.getLogger(_WAITING), _Waits(show_text)
    if not err.is_terminal:
        yield
        return
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.removeHandler(handler)


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


def show(table: "Table") -> None:
    """Print a table; where the terminal is too narrow for it, lines are longer, and product IDs stay whole."""
    minimum = Measurement.get(out, out.options.update(max_width=_WIDEST), table).minimum
    if minimum > out.width:
        table.width = minimum
    out.print(table, crop=False)


def check_files(*files: Path | None) -> None:
    """Refuse files that cannot be written before anything is read."""
    for file in files:
        if file and not file.parent.is_dir():
            raise CatalogueError(f"{file} cannot be written: there is no folder {file.parent}")
        if file and file.is_dir():
            raise CatalogueError(f"{file} cannot be written: it is a folder")


def show_written(files: Iterable[Path]) -> None:
    """Name the files that were written."""
    for file in files:
        out.print(f"written: {file}", highlight=False, markup=False, soft_wrap=True)


def write_text(path: Path, text: str) -> None:
    """Write a file that an option names."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # of names that are no UTF-8
    except OSError as error:
        raise CatalogueError(f"{path} cannot be written: {error}") from error


def needs_convert() -> None:
    """Refuse what needs the `convert` extra where it is not installed."""
    try:
        import filelock  # noqa: F401
        import obstore  # noqa: F401
        import PIL  # noqa: F401
        import shapefile  # noqa: F401
        import urllib3  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[convert]'") from error


def scene_list(text: str | None) -> list[str] | None:
    """Return the product IDs that ``--scenes`` names."""
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
