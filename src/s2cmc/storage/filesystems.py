"""File systems of paths and URLs, and what they raise."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import fsspec
from fsspec import AbstractFileSystem

from s2cmc._redact import secret_values, without_secrets


def filesystem_of(url: str, options: Mapping[str, Any] | None = None) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system of a path or URL, and the path in it without a slash, user and password.

    Raises
    ------
    ValueError, ImportError
        If its protocol is unknown, or needs a package that is not installed.
    """
    url, options = with_basic_auth(url, options or {})
    try:
        filesystem, path = fsspec.url_to_fs(url, **options)
    except (OSError, ValueError, TypeError, ImportError) as error:
        without_secrets(error, secret_values(options))
        raise
    return filesystem, path.rstrip("/")


def basic_auth(url: str) -> tuple[str, dict[str, str]]:
    """An ``http`` URL without its user and password, and the header that says them instead (RFC 7617).

    So they stand in no path, name or error that is made of the URL. Other URLs are given back as they are.

    Raises
    ------
    ValueError
        If a bucket is asked for in this way.
    """
    scheme, _, rest = url.partition("://")
    if "@" not in rest.partition("/")[0]:
        return url, {}
    if scheme.lower() in ("s3", "s3a", "gs", "gcs"):
        raise ValueError(f"{scheme}:// takes no user and password in the URL; give them as options, or in a profile")
    if scheme.lower() not in ("http", "https"):
        return url, {}
    parts = urlsplit(url)
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return plain, {"Authorization": f"Basic {b64encode(pair).decode()}"}


def with_basic_auth(url: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same for a URL of fsspec, of which the last link of a chain counts, and the options of its file system."""
    first, mark, last = url.rpartition("::")
    plain, headers = basic_auth(last)
    if not headers:
        return url, dict(options)
    scheme = last.partition("://")[0]
    own = options.get(scheme, {}) if mark else options
    client = own.get("client_kwargs", {})
    own = {**own, "client_kwargs": {**client, "headers": headers | client.get("headers", {})}}
    return f"{first}{mark}{plain}", {**options, scheme: own} if mark else own


def file_info(filesystem: AbstractFileSystem, path: str) -> Mapping[str, Any] | None:
    """What a file system tells of a file, its size only: over HTTP, `exists` would begin to download it.

    None where there is no such file. What else keeps it from telling is raised: of web servers fsspec says
    FileNotFoundError of that too. Hosts that list nothing say 403 of what they do not have.
    """
    try:
        info: Mapping[str, Any] = filesystem.info(path)
        return info if info["type"] == "file" else None
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = error.__cause__
    if not isinstance(reason, Exception) or isinstance(reason, FileNotFoundError):
        return None
    if getattr(reason, "status", None) in (403, 404, 410):
        return None
    raise reason  # out of the handler: as its context, the error it caused would close the chain to a ring


def unreadable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What local and remote file systems raise where something cannot be read, and `others`."""
    from aiohttp import ClientError  # here: importing s2cmc stays cheap
    from botocore.exceptions import BotoCoreError

    return (OSError, ClientError, BotoCoreError, *others)
