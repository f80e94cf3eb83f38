"""Documents of a store beside its arrays: zarr.json with its version and checksum, coordinates.zip, shards.json."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from s2cmc.errors import DamagedError, StoreError
from s2cmc.schema import FORMAT_VERSION

ROOT = "zarr.json"
CHECKSUM_ATTRIBUTE = "metadata_sha256"
VERSIONS_FORMAT = "s2cmc-versions"
"""Attribute ``format`` of a pointer; that of a store is ``s2cmc``."""

_ATTRIBUTES_OF_ZARR_2 = ".zattrs"

_BLANK = "0" * 64
_CHECKSUM = re.compile(rb'("metadata_sha256":\s*")([0-9a-f]{64})"')


def with_checksum(document: dict[str, Any]) -> bytes:
    """Encode a root document, compact, with its own SHA-256 among its attributes.

    The digest is that of the same bytes with 64 zeros in its place.
    """
    document["attributes"][CHECKSUM_ATTRIBUTE] = _BLANK
    blank = compact_json(document)
    return _CHECKSUM.sub(rb"\g<1>" + hashlib.sha256(blank).hexdigest().encode() + b'"', blank, count=1)


def compact_json(document: Any) -> bytes:
    """Encode a document of metadata as JSON without white space: readers fetch it before anything else."""
    return json.dumps(document, separators=(",", ":")).encode()


def check_pinned(content: bytes, pinned: object, name: str) -> None:
    """Compare an object with the SHA-256 that the root document states.

    Raises
    ------
    DamagedError
        If the object is another one.
    """
    if hashlib.sha256(content).hexdigest() != pinned:
        raise DamagedError(f"{name} is damaged, or of another store: its SHA-256 is not the one of {ROOT}")


def check_checksum(content: bytes, name: str) -> None:
    """Compare a root document with the SHA-256 that it states.

    A document of another kind passes without one: `open_group` says what it is instead.

    Raises
    ------
    DamagedError
        If the document is not what was written.
    """
    if match := _CHECKSUM.search(content):
        blank = content[: match.start(2)] + _BLANK.encode() + content[match.end(2) :]
        if hashlib.sha256(blank).hexdigest().encode() != match[2]:
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


def check_version(version: object, name: object) -> None:
    """Refuse a store of another format, or a conversion into one.

    Parameters
    ----------
    version : object
        The format's version, as the store or the journal of the conversion states it.
    name : object
        URL of the store, for messages.

    Raises
    ------
    StoreError
        If this version of s2cmc does not read the format.
    """
    major = str(version).split(".")[0]
    if major == "1":
        raise StoreError(
            f"{name} has format {version}, made by s2cmc 0.1, which is not read any more; convert the release again: "
            "`s2cmc convert RELEASE STORE --overwrite` replaces it"
        )
    if major != FORMAT_VERSION.split(".")[0]:
        raise StoreError(f"{name} has format {version}; this version of s2cmc reads {FORMAT_VERSION}: update s2cmc")


def is_rewritten(root: bytes | None, read: Callable[[str], bytes | None]) -> bool:
    """Return True if another program, such as xarray, wrote a catalogue that it had read, or a part of one.

    Such a copy has the attributes of the catalogue, but not what proves a store. It is not damaged: nothing in it is to
    be repaired, and it is not a store that s2cmc wrote and may replace.

    Parameters
    ----------
    root : bytes or None
        Root document whose checksum does not hold; None if there is none.
    read : callable
        Returns an object of the same place by key; None if there is none.
    """
    if root is None:
        return _parse(read(_ATTRIBUTES_OF_ZARR_2)).get("format") == "s2cmc"
    document = _parse(root)
    attributes = document.get("attributes")
    if not isinstance(attributes, dict) or attributes.get("format") != "s2cmc":
        return False
    if attributes.keys().isdisjoint(PROOF_ATTRIBUTES):
        return True
    # A copy of what `xr.open_zarr` gave has the attributes of the proofs too, but not the objects that they are about.
    return compact_json(document) != root and read(str(attributes.get(BUNDLE_ATTRIBUTE))) is None


def rewritten_message(name: str) -> str:
    """Describe a place of which `is_rewritten` is true."""
    return (
        f"{name} was written from a catalogue by xarray, or a program like it, and is no store of s2cmc: nothing in it "
        "proves its pixels; open it with xr.open_zarr, or write these scenes as a store with "
        "`s2cmc export STORE OUT --format zarr`"
    )


def _parse(content: bytes | None) -> dict[str, Any]:
    """Parse a JSON object; empty if it is missing or damaged."""
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def started_version(plan: Mapping[str, Any]) -> object:
    """Return the version of the format that a conversion was started with; this one if its journal is damaged."""
    identity = plan.get("identity")
    return identity.get("format version") if isinstance(identity, dict) else FORMAT_VERSION


def versions_document(latest: str, versions: Sequence[str]) -> bytes:
    """Make the root document of a place that holds several versions of a store, each in a folder of its own.

    The document is that of a Zarr group without members: any reader can open it and learn where the data are.
    """
    return with_checksum(
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


# The bundle: all coordinates of a store in one object, so that one request fetches them.
#
# The bundle is an uncompressed zip of the objects that are stored beside it, which are for readers that do not know of
# the bundle. The attributes of the store state its name and SHA-256.

BUNDLE = "coordinates.zip"
BUNDLE_ATTRIBUTE = "coordinate_bundle"
BUNDLE_CHECKSUM_ATTRIBUTE = "coordinate_bundle_sha256"


def pack_bundle(objects: Mapping[str, bytes]) -> bytes:
    """Pack objects by key into a zip; the same objects give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, content in objects.items():
            archive.writestr(zipfile.ZipInfo(key), content)  # without a date
    return file.getvalue()


def bundle_attributes(content: bytes) -> dict[str, str]:
    """Return the attributes by which a store refers to its bundle."""
    return {BUNDLE_ATTRIBUTE: BUNDLE, BUNDLE_CHECKSUM_ATTRIBUTE: hashlib.sha256(content).hexdigest()}


def unpack_bundle(content: bytes, attributes: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Check a bundle, and return its objects by key.

    Raises
    ------
    DamagedError
        If the bundle is not the one that the attributes state.
    """
    check_pinned(content, attributes.get(BUNDLE_CHECKSUM_ATTRIBUTE), name)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {key: archive.read(key) for key in archive.namelist()}


# Digests of the shards of a store, in one small object: they prove which shard belongs where, and to which conversion.
#
# The checksums in a shard prove that the shard is whole, not that it is the one that was written there: a shard of
# another scene passes them too. A crc32c of the whole shard would not help: every chunk ends with its own crc32c, and
# the crc32c over a chunk and its crc32c is the same for all chunks of one length
# (https://en.wikipedia.org/wiki/Cyclic_redundancy_check: the residue of a codeword is a constant). So the digest is the
# SHA-256 of these checksums and of the index: a kilobyte of a shard of 17 MB, which takes no time, and depends on every
# byte of the shard.

DIGESTS = "shards.json"
DIGESTS_ATTRIBUTE = "shard_digests"
DIGESTS_CHECKSUM_ATTRIBUTE = "shard_digests_sha256"

PROOF_ATTRIBUTES = (
    *(CHECKSUM_ATTRIBUTE, BUNDLE_ATTRIBUTE, BUNDLE_CHECKSUM_ATTRIBUTE),
    *(DIGESTS_ATTRIBUTE, DIGESTS_CHECKSUM_ATTRIBUTE),
)
"""Attributes by which a root document proves itself and all other objects. Opened Datasets do not have them."""

_CRC_NBYTES = 4
_ENTRY_NBYTES = 16  # offset and length of a chunk
_ABSENT = 2**64 - 1


def digest_of(shard: bytes, chunks: int) -> str:
    """Compute the SHA-256 of the index of a shard, and of the checksums of its chunks in the order of the index.

    Parameters
    ----------
    shard : bytes
        An object of the codec ``sharding_indexed`` with its index at the end, whole.
    chunks : int
        Number of entries of its index, also those of absent chunks.

    Raises
    ------
    ValueError
        If the shard is shorter than its index.
    """
    index = shard[-(chunks * _ENTRY_NBYTES + _CRC_NBYTES) :]
    digest = hashlib.sha256(index)
    for offset, length in np.frombuffer(index[:-_CRC_NBYTES], "<u8").reshape(chunks, 2).tolist():
        if offset != _ABSENT:
            end = offset + length
            digest.update(shard[end - _CRC_NBYTES : end])
    return digest.hexdigest()


def pack_digests(digests: Mapping[str, str]) -> bytes:
    """Encode digests by key as an object."""
    return json.dumps(dict(digests), separators=(",", ":")).encode()


def digest_attributes(content: bytes) -> dict[str, str]:
    """Return the attributes by which a store refers to the object of its digests."""
    return {DIGESTS_ATTRIBUTE: DIGESTS, DIGESTS_CHECKSUM_ATTRIBUTE: hashlib.sha256(content).hexdigest()}


def unpack_digests(content: bytes, attributes: Mapping[str, Any], name: str) -> dict[str, str]:
    """Check the object of digests, and return them by key.

    Raises
    ------
    DamagedError
        If the object is not the one that the attributes state.
    """
    check_pinned(content, attributes.get(DIGESTS_CHECKSUM_ATTRIBUTE), name)
    return dict(json.loads(content))
