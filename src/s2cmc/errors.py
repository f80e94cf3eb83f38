"""Errors of the catalogue. Each message says what, where, what was expected and what to do.

Where Python has a class of its own for what went wrong, ours is that one too: ``except FileNotFoundError`` works as it
does for `open` and for `xarray.open_zarr`.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from s2cmc._redact import redacted


class CatalogueError(Exception):
    """Base of every error that s2cmc raises on purpose. Its message shows no user, password or query of a URL."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class ArgumentError(CatalogueError, ValueError):
    """An argument is none of those that a function takes."""


class ReleaseError(CatalogueError):
    """A release is not as published: files missing, duplicated or unreadable.

    Parameters
    ----------
    message : str
        One-line summary.
    problems : sequence of str, optional
        One line for each problem.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(map(redacted, problems))
        super().__init__("\n  - ".join([message, *self.problems]))


class MissingReleaseError(ReleaseError, FileNotFoundError):
    """There is no release where one is expected."""


class SceneError(CatalogueError):
    """One scene cannot be stored without loss, or cannot be read.

    Parameters
    ----------
    scene : str
        Product ID.
    message : str
    """

    def __init__(self, scene: str, message: str) -> None:
        self.scene = scene
        self.message = redacted(message)
        super().__init__(f"{scene}: {message}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.scene, self.message)


class MissingProductError(SceneError, FileNotFoundError):
    """The original product of a scene, or a band of it, is not where it is expected."""


class StoreError(CatalogueError):
    """A store is missing, is no catalogue, is of another version, or must not be overwritten."""


class MissingStoreError(StoreError, FileNotFoundError):
    """There is no store where one is expected."""


class MissingObjectError(StoreError, FileNotFoundError):
    """An object of a store is not where it must be."""


class DeniedError(StoreError, PermissionError):
    """An object of a store may not be read or written with these credentials, or is not there."""


class TimeLimitError(StoreError, TimeoutError):
    """An object of a store did not come within the time limit."""


class DamagedError(StoreError):
    """An object of a store is not what was written."""


class UnfinishedStoreError(StoreError):
    """A conversion into this store was started and has not been completed."""


class QueryError(CatalogueError, ValueError):
    """A selection asks for something that does not exist or cannot be evaluated."""


class PredictionError(CatalogueError, ValueError):
    """A prediction does not fit the catalogue: scenes missing, shapes that differ, labels that no class map knows.

    Parameters
    ----------
    message : str
        One-line summary.
    problems : sequence of str, optional
        One line for each problem; the first ones are shown.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(map(redacted, problems))
        more = len(self.problems) - _SHOWN
        shown = [*self.problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        super().__init__("\n  - ".join([message, *shown]))


class MissingPredictionError(PredictionError, FileNotFoundError):
    """There are no predictions where some are expected."""

    def __new__(cls, *args: object) -> "MissingPredictionError":
        """Make an OSError; the method of ValueError, which comes first, cannot."""
        return OSError.__new__(cls, *args)


def name_hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known ones, or all of them."""
    names = list(known)
    close = get_close_matches(name[:_LONGEST_NAME], names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"


_SHOWN = 10
_LONGEST_NAME = 100
"""Characters of a name that are compared; the time that takes grows with their square."""
