"""What the subcommands share: where they print, and the arguments that several have."""

from typing import Annotated

import typer
from rich.console import Console

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
