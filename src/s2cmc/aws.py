"""Access to S3 as its usual clients find it: environment, configuration files, roles."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from s2cmc.access import Access, scheme_of
from s2cmc.errors import StoreError

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
