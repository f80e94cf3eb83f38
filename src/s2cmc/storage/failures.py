"""Translate errors of transports into StoreErrors that name the object and the remedy."""

import re
from collections.abc import Iterator

from s2cmc._redact import without_secrets
from s2cmc.errors import DeniedError, MissingObjectError, StoreError, TimeLimitError
from s2cmc.storage.access import Access, scheme_of

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})|\b(?:status=|An error occurred \()(\d{3})\b")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
_UNREACHABLE = ("error sending request", "Cannot connect", "Could not connect", "Connect timeout", "dns error")
_CONFIGURATION_ERRORS = (
    *("ProfileNotFound", "PartialCredentialsError", "ConfigParseError", "NoRegionError", "SSOTokenLoadError"),
)
"""Classes of botocore, by name: it is not imported for them."""
_LASTING = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError),
    *(ValueError, TypeError, AttributeError, NotImplementedError, ImportError),
)
"""Errors that another try does not change."""
_LATE = re.compile(r"\btimed? ?out\b", re.IGNORECASE)
_REDIRECTED = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301 Moved")


def explain(error: BaseException, name: str, access: Access, *, verb: str = "read") -> StoreError:
    """Translate an error of a transport into one that names the object and says what to do.

    Parameters
    ----------
    error : BaseException
        Raised by obstore, fsspec, aiohttp, botocore or the system.
    name : str
        URL of the object.
    access : Access
        Options with which the object was requested.
    verb : str
        Participle of the failed operation, for the message: "read", "written".
    """
    without_secrets(error, access.secrets())
    text = " ".join(str(cause) for cause in _chain(error))
    if any(sign in text for sign in _NO_BUCKET):
        return MissingObjectError(f"{name} cannot be {verb}: there is no such bucket; check the URL and endpoint_url")
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) or status_of(error) == 404:
        return MissingObjectError(f"{name} is missing")
    if _is_denied(error):
        return DeniedError(f"{name} cannot be {verb}: {_denial_advice(text, name, access)}")
    if _is_late(error, text):
        return TimeLimitError(f"{name} cannot be {verb}: no answer within {access.timeout:g} s")
    return StoreError(f"{name} cannot be {verb}: {_reason(error, text)}")


def _is_late(error: BaseException, text: str) -> bool:
    redirected = any(sign in text for sign in _REDIRECTED)
    return not redirected and (isinstance(error, TimeoutError) or bool(_LATE.search(text)))


def _reason(error: BaseException, text: str) -> str:
    if any(sign in text for sign in _REDIRECTED):
        return "the bucket is in another region; say which with region="
    if any(sign in text for sign in _UNREACHABLE):
        return f"the host cannot be reached; check the URL, endpoint_url and the network ({_first_line(error)})"
    return _first_line(error)


def is_passing(error: BaseException) -> bool:
    """Return True if another try may succeed: the error is no denial, no absent object and no wrong option."""
    if isinstance(error, _LASTING):
        return False
    if any(type(error).__name__ == name for name in _CONFIGURATION_ERRORS):
        return False
    status = status_of(error)
    return not _is_denied(error) and (status is None or status >= 500 or status in (408, 429))


def first_error(error: BaseException) -> BaseException:
    """Return the first error of a (nested) ExceptionGroup, as concurrent reads raise it; another error as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the response that caused an error; None if there is none."""
    for cause in _chain(error):
        status = getattr(cause, "status", None)  # aiohttp
        if isinstance(status, int):
            return status
        response = getattr(cause, "response", None)  # botocore
        if isinstance(response, dict):
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if match := _STATUS.search(str(cause)):
            return int(match[1] or match[2])
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_denied(error: BaseException) -> bool:
    names = ("PermissionDeniedError", "UnauthenticatedError", "NoCredentialsError")
    return isinstance(error, PermissionError) or type(error).__name__ in names or status_of(error) in (401, 403)


def _denial_advice(text: str, name: str, access: Access) -> str:
    if not scheme_of(name).startswith("s3") or not access.is_anonymous:
        code = _CODE.search(text)
        return f"access denied{f' ({code[1]})' if code else ''}; check the credentials and the URL"
    return (
        "access denied to anonymous readers; it needs credentials (anonymous=False takes those of the environment; "
        "profile=, or key= and secret=), or it is not there: a bucket that may not be listed answers the same"
    )


def _first_line(error: BaseException) -> str:
    """Return the first line of a message, without the debug output that obstore adds."""
    lines = str(error).partition("\n\nDebug source")[0].split("\n")
    return lines[0] if lines[0] else type(error).__name__
