"""Remove passwords, signatures and tokens from URLs, options and errors."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

_STEALTH = "***"
_SHORTEST = 6  # characters; a shorter value would be found in the middle of words

_USER = re.compile(r"(?P<scheme>[a-zA-Z][\w+.-]*)://(?P<user>[^/\s?#\"<>]*)@")
_UNQUOTED = re.compile(r"(://)[^/@\s\"<>]*:(?!\d+(?:/|$))[^\s\"<>]*@")
"""A password in which a ``/``, ``?`` or ``#`` is not percent-encoded, as it must be (RFC 3986, 3.2.1)."""
_QUERY = re.compile(r"(://[^\s?#'\"<>]*)[?#][^\s'\"<>]*")
_ECHOED = re.compile(
    r"<(AWSAccessKeyId|SignatureProvided|StringToSign|StringToSignBytes|CanonicalRequest|CanonicalRequestBytes)>"
    r".*?</\1>",
    re.DOTALL,
)
"""What S3 repeats of a request whose signature is wrong; the canonical request holds the session token
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
_SECRET = re.compile(r"key|secret|token|pass|credential|sas|sig|auth|cookie|connection_string|header|service_account")
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")
"""Schemes that write the container, which is no secret, where others have the user."""


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without user, password, query and fragment of its URLs, and without some values.

    A query may be a signature, as in presigned URLs, so that none of it is kept.
    """
    for secret in secrets:
        text = text.replace(secret, _STEALTH)
    if "<" in text:
        text = _ECHOED.sub("", text)
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1", _UNQUOTED.sub(r"\1", _USER.sub(_without_user, text)))


def secret_values(options: Mapping[str, Any]) -> Iterator[str]:
    """Texts in options, at any depth, that their names call secret."""
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
        What a translated error is raised from: ``raise StoreError(...) from without_secrets(error)``.
    secrets : iterable of str
        Texts to take out wherever they are.

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
        with suppress(AttributeError):  # those of GDAL cannot be changed, and name files in memory
            error.args = tuple(redacted(part, hidden) if isinstance(part, str) else part for part in error.args)
        for name in ("filename", "filename2", "message", "msg", "strerror"):
            if isinstance(said := getattr(error, name, None), str) and (kept := redacted(said, hidden)) != said:
                setattr(error, name, kept)
        if isinstance(named := getattr(error, "kwargs", None), dict):  # botocore
            error.kwargs = {k: redacted(v, hidden) if isinstance(v, str) else v for k, v in named.items()}  # type: ignore[attr-defined]
        _forget_request(error)
        todo += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
    return foreign


def _without_user(url: re.Match[str]) -> str:
    scheme, user = url["scheme"], url["user"]
    return url[0] if scheme.lower() in _CONTAINERS and ":" not in user else f"{scheme}://"


def _texts(value: Any) -> Iterator[str]:
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
    """An error of aiohttp carries the request, with its headers and its URL."""
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
