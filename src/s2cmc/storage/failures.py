"""Translate errors of transports into a StoreError that names the object and the remedy."""

import re
from collections.abc import Iterator

from s2cmc._redact import without_secrets
from s2cmc.errors import DeniedError, MissingObjectError, StoreError, TimeLimitError
from s2cmc.storage.access import Access, scheme_of

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})|\b(?:status=|An error occurred \()(\d{3})\b")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
_UNREACHABLE = ("error sending request", "Cannot connect", "Could not connect", "Connect timeout", "dns error")
_UNTOLD = ("ProfileNotFound", "PartialCredentialsError", "ConfigParseError", "NoRegionError", "SSOTokenLoadError")
_LASTING = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError),
    *(ValueError, TypeError, AttributeError, NotImplementedError, ImportError),
)
_LATE = re.compile(r"\btimed? ?out\b", re.IGNORECASE)
_REDIRECTED = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301 Moved")


def explain(error: BaseException, name: str, access: Access, *, verb: str = "read") -> StoreError:
    """An error that a person can act on.

    Parameters
    ----------
    error : BaseException
        What obstore, fsspec, aiohttp, botocore or the system raised.
    name : str
        URL of the object.
    access : Access
        How it was asked for.
    verb : str
        What was tried.
    """
    without_secrets(error, access.secrets())
    said = " ".join(str(cause) for cause in _chain(error))
    if any(sign in said for sign in _NO_BUCKET):
        return MissingObjectError(f"{name} cannot be {verb}: there is no such bucket; check the URL and endpoint_url")
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) or status_of(error) == 404:
        return MissingObjectError(f"{name} is missing")
    if _is_denied(error):
        return DeniedError(f"{name} cannot be {verb}: {_denied(said, name, access)}")
    if _is_late(error, said):
        return TimeLimitError(f"{name} cannot be {verb}: no answer within {access.timeout:g} s")
    return StoreError(f"{name} cannot be {verb}: {_reason(error, said)}")


def _is_late(error: BaseException, said: str) -> bool:
    redirected = any(sign in said for sign in _REDIRECTED)
    return not redirected and (isinstance(error, TimeoutError) or bool(_LATE.search(said)))


def _reason(error: BaseException, said: str) -> str:
    if any(sign in said for sign in _REDIRECTED):
        return "the bucket is in another region; say which with region="
    if any(sign in said for sign in _UNREACHABLE):
        return f"the host cannot be reached; check the URL, endpoint_url and the network ({_text(error)})"
    return _text(error)


def is_passing(error: BaseException) -> bool:
    """Worth another try: not refused, not absent, not a wrong option."""
    if isinstance(error, _LASTING):
        return False
    if any(type(error).__name__ == name for name in _UNTOLD):
        return False
    status = status_of(error)
    return not _is_denied(error) and (status is None or status >= 500 or status in (408, 429))


def first_error(error: BaseException) -> BaseException:
    """The first error in a group of them; side by side reads fail as groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def status_of(error: BaseException) -> int | None:
    """HTTP status that an error tells, if any."""
    for cause in _chain(error):
        status = getattr(cause, "status", None)  # aiohttp
        if isinstance(status, int):
            return status
        response = getattr(cause, "response", None)  # botocore
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if found := _STATUS.search(str(cause)):
            return int(found[1] or found[2])
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_denied(error: BaseException) -> bool:
    names = ("PermissionDeniedError", "UnauthenticatedError", "NoCredentialsError")
    return isinstance(error, PermissionError) or type(error).__name__ in names or status_of(error) in (401, 403)


def _denied(text: str, name: str, access: Access) -> str:
    if not scheme_of(name).startswith("s3") or not access.is_anonymous:
        code = _CODE.search(text)
        return f"access denied{f' ({code[1]})' if code else ''}; check the credentials and the URL"
    return (
        "access denied to anonymous readers; it needs credentials (anonymous=False takes those of the environment; "
        "profile=, or key= and secret=), or it is not there: a bucket that may not be listed answers the same"
    )


def _text(error: BaseException) -> str:
    """First line of what it says, without what obstore adds for its developers."""
    lines = str(error).partition("\n\nDebug source")[0].split("\n")
    return lines[0] if lines[0] else type(error).__name__
