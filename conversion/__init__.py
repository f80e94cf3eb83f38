"""Convert a published release into a store; verify, repair, publish, describe, export and restore stores."""

from .convert import Forecast, convert, forecast
from .export import export, restore
from .metadata import describe
from .publish import publish
from .records import download
from .repair import repair
from .verify import verify

__all__ = [
    "Forecast",
    "convert",
    "describe",
    "download",
    "export",
    "forecast",
    "publish",
    "repair",
    "restore",
    "verify",
]
