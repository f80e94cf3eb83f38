"""Options of access to a store: transport, credentials, time limit, cache; S3 configuration as its clients find it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

from s2cmc._redact import redacted, secret_values
from s2cmc.errors import ArgumentError, StoreError, name_hint

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
    """How a store is reached: transport, credentials, time limit, cache.

    ``s2cmc.open_catalogue(url, s2cmc.Access(profile="archive"))``, or its options by name:
    ``s2cmc.open_catalogue(url, profile="archive")``. All functions of `s2cmc.conversion` take one too.

    Attributes
    ----------
    anonymous : bool, optional
        Sign no request. By default so for buckets, unless credentials are given here; with False the environment, the
        configuration files and the instance are asked for them, as the usual clients do.
    endpoint_url : str, optional
        Of a service that is not the provider's own. ``AWS_ENDPOINT_URL`` and ``~/.aws/config`` are honoured.
    region : str, optional
        Of the bucket. ``AWS_REGION`` and ``~/.aws/config`` are honoured.
    key, secret : str, optional
        Access key of ``s3://``.
    profile : str, optional
        Of the AWS configuration files.
    requester_pays : bool
        Pay for what is read.
    backend : {"obstore", "fsspec"}
        Transport of ``s3``, ``gs``, ``az`` and ``http``; all other URLs go through fsspec. So does a process that was
        forked from one that uses s2cmc: obstore does not survive a fork.
    timeout : float
        Seconds after which an object that cannot be read is given up. A download that goes on is not cut.
    cache_dir : path, optional
        Folder in which objects that were read are kept for the next time; any number of processes may share it.
    cache_size : int
        Bytes that it holds at most.
    storage_options : mapping
        What else the transport takes: configuration of obstore, or options of the fsspec file system.

    Raises
    ------
    ArgumentError
        If a value is not one that can be.

    Examples
    --------
    >>> Access(endpoint_url="https://storage.example.org", cache_dir="~/.cache/s2cmc").timeout
    60.0
    """

    anonymous: bool | None = None
    endpoint_url: str | None = field(default=None, repr=False)  # it may hold a password
    region: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    profile: str | None = None
    requester_pays: bool = False
    backend: Backend = "obstore"
    timeout: float = 60.0
    cache_dir: str | Path | None = None
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
        """No request is signed."""
        if self.anonymous is not None:
            return self.anonymous
        return not (self.key or self.profile or _CREDENTIALS & self.storage_options.keys())

    def spoken(self) -> dict[str, str]:
        """What of it may be told to others: where, and in whose name, but no secret."""
        named = {"endpoint_url": self.endpoint_url, "region": self.region, "profile": self.profile}
        return {name: redacted(value) for name, value in named.items() if value is not None}

    def secrets(self) -> list[str]:
        """What must not be told, as far as it is given here."""
        given = {"key": self.key, "secret": self.secret}
        return [*secret_values(given), *secret_values(self.storage_options)]

    def signed(self) -> "Access":
        """The same for writing: with the credentials of the environment, unless others are given."""
        return replace(self, anonymous=False) if self.anonymous is None else self


_CREDENTIALS = {
    *("access_key_id", "secret_access_key", "session_token", "credential_provider", "token", "bearer_token"),
    *("service_account", "service_account_key", "application_credentials", "account_key", "sas_key", "sas_token"),
    *("client_id", "credential", "connection_string"),
}
"""Options of obstore and fsspec that carry credentials."""


def make_access(storage_options: Mapping[str, Any] | None = None, **named: Any) -> Access:
    """Make an `Access` of its options; those in `storage_options` may be spelled as fsspec spells them.

    Raises
    ------
    ArgumentError
        If there is no such option, or a value is not one that can be.
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
    """Scheme of a URL; empty for a path."""
    return url.partition("://")[0].lower() if "://" in url else ""


def has_obstore(url: str) -> bool:
    """Obstore can read it."""
    return scheme_of(url) in _OBSTORE_SCHEMES and "::" not in url


# Access to S3 as its usual clients find it: environment, configuration files, roles.

_VALID = timedelta(minutes=15)
"""Credentials are asked for again after this time; botocore renews those that end."""


def s3_config(access: Access) -> dict[str, Any]:
    """Configuration of obstore's S3 store.

    Raises
    ------
    StoreError
        If there is no such profile, or there are no credentials where some are asked for.
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
        # Not as options: obstore would add the token of the environment, which belongs to another key.
        return config | {"credential_provider": partial(_given, access.key, access.secret)}
    if access.storage_options.keys() & {"access_key_id", "credential_provider"}:
        return config
    provider = Credentials(access.profile)
    provider()  # what is missing is told now
    return config | {"credential_provider": provider}


def _given(key: str, secret: str) -> dict[str, Any]:
    return {"access_key_id": key, "secret_access_key": secret, "expires_at": None}


def _endpoint(session: Any) -> str | None:
    """As botocore resolves it, without its sections for services."""
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return environment or session.get_scoped_config().get("endpoint_url")


@dataclass(frozen=True)
class Credentials:
    """Credentials of a profile, found anew in each process that they are sent to.

    Attributes
    ----------
    profile : str, optional
    """

    profile: str | None

    def __call__(self) -> dict[str, Any]:
        """As obstore takes them."""
        from botocore.session import Session

        found = Session(profile=self.profile).get_credentials()
        if found is None:
            raise StoreError(
                "there are no credentials in the environment or in ~/.aws; pass key= and secret=, or anonymous=True"
            )
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _VALID,
        }
