"""Options of access to a store: transport, credentials, time limit, cache; configuration of S3 as botocore finds it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from typing import Any, Literal, get_args

from s2cmc._redact import redacted, secret_values
from s2cmc.errors import ArgumentError, StoreError, name_hint
from s2cmc.storage.locations import Location

Backend = Literal["obstore", "fsspec"]

_OBSTORE_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https")
_SYNONYMS = {
    "anon": "anonymous",
    "region_name": "region",
    "aws_access_key_id": "key",
    "aws_secret_access_key": "secret",
}


@dataclass(frozen=True)
class Access:
    """Options of access to a store: transport, credentials, time limit, cache.

    ``s2cmc.open_catalogue(url, s2cmc.Access(profile="archive"))``, or its options by name:
    ``s2cmc.open_catalogue(url, profile="archive")``. All functions of `s2cmc.conversion` take one too.

    Attributes
    ----------
    anonymous : bool, optional
        Sign no request. Default for buckets, unless credentials are given here. With False, credentials are taken from
        the environment, the configuration files or the instance, as other clients do.
    endpoint_url : str, optional
        URL of a service that is not the provider's own. ``AWS_ENDPOINT_URL`` and ``~/.aws/config`` are honoured.
    region : str, optional
        Region of the bucket. ``AWS_REGION`` and ``~/.aws/config`` are honoured.
    key, secret : str, optional
        Access key for ``s3://``.
    profile : str, optional
        Profile of the AWS configuration files.
    requester_pays : bool
        Pay for the requests to a bucket of which the requester pays.
    backend : {"obstore", "fsspec"}
        Transport of ``s3``, ``gs``, ``az`` and ``http``; all other URLs go through fsspec. A process that was forked
        from one that uses s2cmc always uses fsspec: obstore does not survive a fork.
    timeout : float
        Seconds after which an object that cannot be read is given up. A download that makes progress is not stopped.
    cache_dir : path, optional
        Folder of a cache of the objects that were read; any number of processes may share it.
    cache_size : int
        Upper limit of the cache, bytes.
    storage_options : mapping
        Other options of the transport: configuration of obstore, or options of the fsspec file system.

    Raises
    ------
    ArgumentError
        If a value is not allowed.

    Examples
    --------
    >>> Access(endpoint_url="https://storage.example.org", cache_dir="~/.cache/s2cmc").timeout
    60.0
    """

    anonymous: bool | None = None
    endpoint_url: str | None = field(default=None, repr=False)  # a URL may hold a password
    region: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    profile: str | None = None
    requester_pays: bool = False
    backend: Backend = "obstore"
    timeout: float = 60.0
    cache_dir: Location | None = None
    cache_size: int = 10_000_000_000
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.backend not in get_args(Backend):
            raise ArgumentError(f"backend is {self.backend!r}; expected one of {', '.join(get_args(Backend))}")
        for name, unit in (("timeout", "seconds"), ("cache_size", "bytes")):
            number = getattr(self, name)
            if not isinstance(number, int | float) or not 0 < number < inf:
                raise ArgumentError(f"{name} is {number!r}; expected {unit} above 0")
        for name in ("anonymous", "requester_pays"):
            if getattr(self, name) not in (True, False, None):
                raise ArgumentError(f"{name} is {getattr(self, name)!r}; expected True or False")
        if self.endpoint_url is not None and scheme_of(self.endpoint_url) not in ("http", "https"):
            raise ArgumentError(
                f"endpoint_url is {self.endpoint_url.rpartition('@')[2]!r}; expected http:// or https://"
            )
        if (self.key is None) != (self.secret is None):
            raise ArgumentError("key and secret go together: one of them is missing")

    @property
    def is_anonymous(self) -> bool:
        """True if no request is signed."""
        if self.anonymous is not None:
            return self.anonymous
        return not (self.key or self.profile or _CREDENTIALS & self.storage_options.keys())

    def public_options(self) -> dict[str, str]:
        """Return the options that may appear in logs and messages: endpoint, region and profile, redacted."""
        options = {"endpoint_url": self.endpoint_url, "region": self.region, "profile": self.profile}
        return {name: redacted(value) for name, value in options.items() if value is not None}

    def secrets(self) -> list[str]:
        """Return the secret values of the options, which must not appear in logs and messages."""
        credentials = {"key": self.key, "secret": self.secret}
        return [*secret_values(credentials), *secret_values(self.storage_options)]

    def signed(self) -> "Access":
        """Return these options for writing: by default, requests are signed with the credentials of the environment."""
        return replace(self, anonymous=False) if self.anonymous is None else self


_CREDENTIALS = {
    *("access_key_id", "secret_access_key", "session_token", "credential_provider", "token", "bearer_token"),
    *("service_account", "service_account_key", "application_credentials", "account_key", "sas_key", "sas_token"),
    *("client_id", "credential", "connection_string"),
}
"""Options of obstore and fsspec that carry credentials."""


def make_access(storage_options: Mapping[str, Any] | None = None, **named: Any) -> Access:
    """Make an `Access` of options by name; in `storage_options`, options may have their names in fsspec.

    Raises
    ------
    ArgumentError
        If there is no such option, or a value is not allowed.
    """
    if unknown := [name for name in named if name not in _DEFAULTS]:
        hint = name_hint(unknown[0], _DEFAULTS)
        raise ArgumentError(f"no option {unknown[0]!r} of access; {hint}; other options go into storage_options")
    options = {_SYNONYMS.get(name, name): value for name, value in (storage_options or {}).items()}
    if "storage_options" in options:
        raise ArgumentError("storage_options are given within storage_options")
    own = {name: options.pop(name) for name in list(options) if name in _DEFAULTS}
    named = {name: value for name, value in named.items() if value != _DEFAULTS[name]}
    return Access(**(own | named), storage_options=options)


_DEFAULTS = {field.name: field.default for field in fields(Access)}


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; empty for a path."""
    return url.partition("://")[0].lower() if "://" in url else ""


def has_obstore(url: str) -> bool:
    """Return True if obstore can read a URL."""
    return scheme_of(url) in _OBSTORE_SCHEMES and "::" not in url


# Configuration of S3 from where other clients take it: environment, configuration files, roles.

_VALID = timedelta(minutes=15)
"""Time after which obstore asks for credentials again; botocore renews those that expire."""


def s3_config(access: Access) -> dict[str, Any]:
    """Return the configuration of obstore's S3 store.

    Raises
    ------
    StoreError
        If there is no such profile, or requests are to be signed and there are no credentials.
    """
    from botocore.exceptions import ProfileNotFound
    from botocore.session import Session

    session = Session(profile=access.profile)
    try:
        region = access.region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        endpoint = access.endpoint_url or _endpoint(session)
    except ProfileNotFound as error:
        raise StoreError(f"{error}; see ~/.aws/config") from error
    if endpoint and scheme_of(endpoint) not in ("http", "https"):
        raise StoreError(f"the endpoint {endpoint!r} of the environment or profile must begin with http:// or https://")
    config: dict[str, Any] = {}
    if endpoint:
        config["endpoint"] = endpoint
    if region or endpoint:
        config["region"] = region or "us-east-1"
    if access.requester_pays:
        config["request_payer"] = True
    if access.is_anonymous:
        return config | {"skip_signature": True}
    if access.key and access.secret:
        # A provider and no options: to these obstore would add the environment's token, which is of another key.
        return config | {"credential_provider": partial(_static_credentials, access.key, access.secret)}
    if access.storage_options.keys() & {"access_key_id", "credential_provider"}:
        return config
    provider = Credentials(access.profile)
    provider()  # missing credentials are an error now, and not at the first request
    return config | {"credential_provider": provider}


def _static_credentials(key: str, secret: str) -> dict[str, Any]:
    """Return an access key in the form that obstore takes, without an end."""
    return {"access_key_id": key, "secret_access_key": secret, "expires_at": None}


def _endpoint(session: Any) -> str | None:
    """Resolve the endpoint as botocore does, except for its sections for services."""
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return environment or session.get_scoped_config().get("endpoint_url")


@dataclass(frozen=True)
class Credentials:
    """Provider of the credentials of a profile for obstore.

    Only the name of the profile is pickled: another process looks for the credentials itself.

    Attributes
    ----------
    profile : str, optional
    """

    profile: str | None

    def __call__(self) -> dict[str, Any]:
        """Find the credentials, and return them in the form that obstore takes."""
        from botocore.session import Session

        credentials = Session(profile=self.profile).get_credentials()
        if credentials is None:
            raise StoreError(
                "there are no credentials in the environment or in ~/.aws; pass key= and secret=, or anonymous=True"
            )
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _VALID,
        }
