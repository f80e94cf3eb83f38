"""File systems of paths and URLs, and what they raise."""

from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec import AbstractFileSystem


def filesystem_of(url: str, options: Mapping[str, Any] | None = None) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system of a path or URL, and the path in it without a slash at its end.

    Raises
    ------
    ValueError, ImportError
        If its protocol is unknown, or needs a package that is not installed.
    """
    filesystem, path = fsspec.url_to_fs(url, **(options or {}))
    return filesystem, path.rstrip("/")


def unreadable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What local and remote file systems raise where something cannot be read, and `others`."""
    from aiohttp import ClientError  # here: importing s2cmc stays cheap
    from botocore.exceptions import BotoCoreError

    return (OSError, ClientError, BotoCoreError, *others)
