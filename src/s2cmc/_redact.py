"""Remove passwords, signatures and tokens from URLs, options and errors."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

_STEALTH = "***"
_SHORTEST = 6  # characters; shorter values would be replaced in the middle of words

_USER = re.compile(r"(?P<scheme>[a-zA-Z][\w+.-]*)://(?P<user>[^/\s?#\"<>]*)@")
_UNQUOTED = re.compile(r"(://)[^/@\s\"<>]*:(?!\d+(?:/|$))[^\s\"<>]*@")
"""A password in which a ``/``, ``?`` or ``#`` is not percent-encoded, as it must be (RFC 3986, 3.2.1)."""
_QUERY = re.compile(r"(://[^\s?#'\"<>]*)[?#][^\s'\"<>]*")
_ECHOED = re.compile(
    r"<(AWSAccessKeyId|SignatureProvided|StringToSign|StringToSignBytes|CanonicalRequest|CanonicalRequestBytes)>"
    r".*?</\1>",
    re.DOTALL,
)
"""Elements in which S3 repeats a request whose signature is wrong; the canonical request holds the session token
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
_SECRET = re.compile(r"key|secret|token|pass|credential|sas|sig|auth|cookie|connection_string|header|service_account")
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")
"""Schemes with the container, which is no secret, at the place where others have the user."""


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Remove user, password, query and fragment of all URLs from a text, and replace secret values by ``***``.

    A query is removed whole, because it may be a signature, as in presigned URLs.
    """
    for secret in secrets:
        text = text.replace(secret, _STEALTH)
    if "<" in text:
        text = _ECHOED.sub("", text)
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1", _UNQUOTED.sub(r"\1", _USER.sub(_without_user, text)))


def secret_values(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in options, at any depth, whose names call them secret."""
    for name, value in options.items():
        if _SECRET.search(str(name).lower()):
            yield from (text for text in _texts(value) if len(text) >= _SHORTEST)
        elif isinstance(value, Mapping):
            yield from secret_values(value)


def without_secrets[E: BaseException](foreign: E, secrets: Iterable[str] = ()) -> E:
    """Redact the messages of an error of another library, of its causes and contexts, in place.

    Parameters
    ----------
    foreign : BaseException
        Cause of a translated error: ``raise StoreError(...) from without_secrets(error)``.
    secrets : iterable of str
        Texts to replace wherever they occur.

    Returns
    -------
    BaseException
        The same error.
    """
    hidden, seen = tuple(secrets), set[int]()
    todo: list[BaseException | None] = [foreign]
    while todo:
        error = todo.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        with suppress(AttributeError):  # errors of GDAL cannot be changed; they name only files in memory
            error.args = tuple(redacted(part, hidden) if isinstance(part, str) else part for part in error.args)
        for name in ("filename", "filename2", "message", "msg", "strerror"):
            if isinstance(text := getattr(error, name, None), str) and (clean := redacted(text, hidden)) != text:
                setattr(error, name, clean)
        if isinstance(kwargs := getattr(error, "kwargs", None), dict):  # botocore
            error.kwargs = {k: redacted(v, hidden) if isinstance(v, str) else v for k, v in kwargs.items()}  # type: ignore[attr-defined]
        _forget_request(error)
        todo += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
    return foreign


def _without_user(url: re.Match[str]) -> str:
    """Return the beginning of a URL without its user, but with its container."""
    scheme, user = url["scheme"], url["user"]
    return url[0] if scheme.lower() in _CONTAINERS and ":" not in user else f"{scheme}://"


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value, at any depth."""
    match value:
        case str():
            yield value
        case Mapping():
            for part in value.values():
                yield from _texts(part)
        case list() | tuple():
            for part in value:
                yield from _texts(part)


def _forget_request(error: BaseException) -> None:
    """Remove user, query and headers from the request that an error of aiohttp carries."""
    request = getattr(error, "request_info", None)
    if request is None or not hasattr(request, "_replace"):
        return
    bare = request._replace(
        url=request.url.with_user(None).with_query(None),
        real_url=request.real_url.with_user(None).with_query(None),
        headers=type(request.headers)(type(request.headers.copy())()),
    )
    error.args = tuple(bare if part is request else part for part in error.args)
    error.request_info = bare  # type: ignore[attr-defined]
