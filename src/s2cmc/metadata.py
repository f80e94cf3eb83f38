"""The root document of a store, ``zarr.json``: its own checksum, and the pointer to the newest of several versions."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from s2cmc.errors import DamagedError

ROOT = "zarr.json"
CHECKSUM_ATTRIBUTE = "metadata_sha256"
VERSIONS_FORMAT = "s2cmc-versions"
"""Attribute ``format`` of a pointer; that of a store is ``s2cmc``."""

_BLANK = "0" * 64
_CHECKSUM = re.compile(rb'("metadata_sha256":\s*")([0-9a-f]{64})"')


def seal(document: dict[str, Any]) -> bytes:
    """A root document with its own SHA-256 among its attributes, compact: it is read before anything else."""
    document["attributes"][CHECKSUM_ATTRIBUTE] = _BLANK
    blank = compact(document)
    return _CHECKSUM.sub(rb"\g<1>" + hashlib.sha256(blank).hexdigest().encode() + b'"', blank, count=1)


def compact(document: Any) -> bytes:
    """A document of metadata as it is written: JSON without white space, for it is read before anything else."""
    return json.dumps(document, separators=(",", ":")).encode()


def check_pinned(content: bytes, pinned: object, name: str) -> None:
    """Hold an object against its SHA-256 that the root document tells.

    Raises
    ------
    DamagedError
        If it is not the object that the root document speaks of.
    """
    if hashlib.sha256(content).hexdigest() != pinned:
        raise DamagedError(f"{name} is damaged, or of another store: its SHA-256 is not the one of {ROOT}")


def check_seal(content: bytes, name: str) -> None:
    """Hold a root document against its SHA-256.

    One that is not of s2cmc needs none: what it is instead is said by those who read it.

    Raises
    ------
    DamagedError
        If it is not what was written.
    """
    if found := _CHECKSUM.search(content):
        blank = content[: found.start(2)] + _BLANK.encode() + content[found.end(2) :]
        if hashlib.sha256(blank).hexdigest().encode() != found[2]:
            raise DamagedError(
                f"{name} is damaged, or was edited by hand: its SHA-256 is not what its {CHECKSUM_ATTRIBUTE} says"
            )
        return
    try:
        document = json.loads(content)
    except ValueError as error:
        raise DamagedError(f"{name} is damaged: it is no JSON") from error
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if isinstance(attributes, dict) and attributes.get("format") in ("s2cmc", VERSIONS_FORMAT):
        raise DamagedError(f"{name} is damaged, or was edited by hand: it has no {CHECKSUM_ATTRIBUTE}")


def pointer(latest: str, versions: Sequence[str]) -> bytes:
    """Root document of a place that holds several versions of a store, each in a folder of its own.

    It is a group of Zarr without members, so that any reader can open it and learn where the data are.
    """
    return seal(
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {
                "format": VERSIONS_FORMAT,
                "latest": latest,
                "versions": list(versions),
                "comment": "The data are in the folder named by `latest`; earlier versions stay where they are.",
            },
            "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {}},
        }
    )
