"""Errors of the catalogue. Each message says what, where, what was expected and what to do."""

import sys
from collections.abc import Sequence

from s2cmc._redact import redact_error, redacted


class CatalogueError(Exception):
    """Base of every error that s2cmc raises on purpose.

    Neither its message nor that of the error it is raised from shows a user, password or query of a URL.
    """

    def __init__(self, *said: object) -> None:
        redact_error(sys.exception())  # which is being handled, and will be the cause
        super().__init__(*(redacted(part) if isinstance(part, str) else part for part in said))


class ReleaseError(CatalogueError):
    """A release is not as published: files missing, duplicated or unreadable.

    Parameters
    ----------
    message : str
        One-line summary.
    problems : sequence of str, optional
        One line for each thing found.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(map(redacted, problems))
        super().__init__("\n  - ".join([message, *self.problems]))


class SceneError(CatalogueError):
    """One scene cannot be stored without loss, or cannot be read."""

    def __init__(self, scene: str, message: str) -> None:
        self.scene = scene
        super().__init__(f"{scene}: {message}")


class StoreError(CatalogueError):
    """A store is missing, is no catalogue, is of another version, or must not be overwritten."""


class MissingObjectError(StoreError):
    """An object of a store is not where it must be."""


class DeniedError(StoreError):
    """An object of a store may not be read with these credentials, or is not there."""


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
        One line for each thing found; the first ones are shown.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(map(redacted, problems))
        more = len(self.problems) - _SHOWN
        shown = [*self.problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        super().__init__("\n  - ".join([message, *shown]))


_SHOWN = 10
