"""The command ``s2cmc``. Each subcommand forwards to one function and shows what it returns.

Exit codes: 0 all is well; 1 an error, differences that `verify` found, or a georeference that is not
proved; 2 a wrong command line; 130, 143 and 129 ended by SIGINT, SIGTERM or SIGHUP; 141 nobody reads what is printed.
"""

import logging
from typing import Annotated, Any

import typer
import typer.core
from rich.text import Text

from s2cmc import __version__
from s2cmc._redact import redacted
from s2cmc.cli import ask, evaluate, geo, release
from s2cmc.cli._console import ending, err, escape_unprintable, out, stopped_by_signals
from s2cmc.errors import CatalogueError


class _Commands(typer.core.TyperGroup):
    """The subcommands; each of them ends in order on a signal."""

    def invoke(self, ctx: Any) -> Any:
        with ending():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help="The Sentinel-2 Cloud Mask Catalogue as one Zarr store: make it, prove it, ask it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(release.sample, release.download, release.convert, release.verify, release.repair),
    *(release.restore, release.publish),
    *(ask.info, ask.select, ask.fractions, ask.gallery),
    *(evaluate.stats, evaluate.evaluate),
    *(geo.export, geo.metadata, geo.window, geo.georeference),
):
    app.command()(command)


class _LogLines(logging.Handler):
    """Handler that prints each record as one line, above a progress bar, without credentials in URLs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        level = Text(f"{record.levelname:8}", style=f"logging.level.{record.levelname.lower()}")
        err.print(level, redacted(self.format(record)), highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Entry point: errors of the catalogue are one message on stderr and exit code 1."""
    escape_unprintable()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_LogLines()])
    logging.getLogger("s2cmc").setLevel(logging.INFO)
    try:
        with stopped_by_signals():
            app()
    except (CatalogueError, OSError) as error:  # OSError: a full disk, a folder without permission, no network
        err.print(f"error: {redacted(str(error))}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        out.print(f"s2cmc {__version__}", highlight=False)
        raise typer.Exit
