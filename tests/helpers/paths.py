"""Places in the checkout, and how helpers run as scripts."""

import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


class Named:
    """A path that is neither text nor of pathlib, as other libraries have them."""

    def __init__(self, path: str | bytes) -> None:
        self._path = path

    def __fspath__(self) -> str | bytes:
        return self._path

    def __repr__(self) -> str:
        return f"Named({self._path!r})"


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
"""In which a script finds the other helpers."""


def command_of(script: ModuleType, *arguments: object) -> list[str]:
    """Return the command line of a helper that is run as a script, in `ENVIRONMENT`."""
    return [sys.executable, "-m", script.__name__, *map(str, arguments)]
