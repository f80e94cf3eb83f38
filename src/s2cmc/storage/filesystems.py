"""File systems of paths and URLs, and what they raise."""

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from s2cmc._redact import secret_values, without_secrets
from s2cmc.storage.locations import Location, locate

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def filesystem_of(url: Location, options: Mapping[str, Any] | None = None) -> "tuple[AbstractFileSystem, str]":
    """Make the fsspec file system of a path or URL, and the path in it without final slash, user and password.

    Raises
    ------
    ValueError, ImportError
        If the protocol is unknown, or needs a package that is not installed.
    """
    import fsspec

    url, options = with_basic_auth(locate(url), options or {})
    try:
        filesystem, path = fsspec.url_to_fs(url, **options)
    except (OSError, ValueError, TypeError, ImportError) as error:
        without_secrets(error, secret_values(options))
        raise
    return filesystem, path.rstrip("/")


def basic_auth(url: str) -> tuple[str, dict[str, str]]:
    """Move user and password of an ``http`` URL into a header (RFC 7617); return both.

    Then no path, name or error that is made of the URL shows them. Other URLs are returned as they are.

    Raises
    ------
    ValueError
        If the URL of a bucket has a user.
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
    """Move user and password of a URL of fsspec into the options of its file system; return both.

    In a chain of URLs, such as ``zip://a.npy::https://user:password@host/a.zip``, those of the last one are moved.
    """
    first, mark, last = url.rpartition("::")
    plain, headers = basic_auth(last)
    if not headers:
        return url, dict(options)
    scheme = last.partition("://")[0]
    own = options.get(scheme, {}) if mark else options
    client = own.get("client_kwargs", {})
    own = {**own, "client_kwargs": {**client, "headers": headers | client.get("headers", {})}}
    return f"{first}{mark}{plain}", {**options, scheme: own} if mark else own


def file_info(filesystem: "AbstractFileSystem", path: str) -> Mapping[str, Any] | None:
    """Return what a file system knows of a file, such as its size; None if there is no such file.

    `exists` would begin to download the file over HTTP. All other errors are raised: for web servers, fsspec hides them
    behind a FileNotFoundError. Status 403 is taken for an absent file, because hosts that forbid listing answer so.
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
    raise reason  # outside the handler: the error that it caused would become its context, and the chain a ring


def unreadable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the errors of local and remote file systems for what cannot be read, and `others`."""
    from aiohttp import ClientError  # imported in the function: `import s2cmc` stays cheap
    from botocore.exceptions import BotoCoreError

    return (OSError, ClientError, BotoCoreError, *others)
