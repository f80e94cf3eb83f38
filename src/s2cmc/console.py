"""What the subcommands share: where they print, and the arguments that several have."""

import json
import re
from typing import Annotated, Any

import typer
from rich.console import Console

from s2cmc.access import Access, make_access

out = Console()
err = Console(stderr=True)

Store = Annotated[str, typer.Argument(metavar="STORE", help="Path or URL of a store.")]
Release = Annotated[str, typer.Argument(metavar="RELEASE", help="Folder or URL in the published layout.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; one for each core by default.")]
Where = Annotated[str | None, typer.Option(metavar="EXPR", help="Tag expression, e.g. 'snow_ice and thin'.")]
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
            raise typer.BadParameter(f"{pair!r} is not of the form KEY=VALUE", param_hint=option)
        try:
            options[key] = value if _TEXT.fullmatch(key) else json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options
