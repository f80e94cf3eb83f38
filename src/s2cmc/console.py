"""What the subcommands share: where they print, and the arguments that several have."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from s2cmc.access import Access, make_access
from s2cmc.ending import PipedConsole, how_stopped
from s2cmc.errors import CatalogueError

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
