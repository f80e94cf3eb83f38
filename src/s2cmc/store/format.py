"""Documents of a store beside its arrays: zarr.json with its checksum, coordinates.zip, shards.json."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s2cmc.errors import DamagedError

ROOT = "zarr.json"
CHECKSUM_ATTRIBUTE = "metadata_sha256"
VERSIONS_FORMAT = "s2cmc-versions"
"""Attribute ``format`` of a pointer; that of a store is ``s2cmc``."""

_BLANK = "0" * 64
_CHECKSUM = re.compile(rb'("metadata_sha256":\s*")([0-9a-f]{64})"')


def with_checksum(document: dict[str, Any]) -> bytes:
    """A root document with its own SHA-256 among its attributes, compact: it is read before anything else."""
    document["attributes"][CHECKSUM_ATTRIBUTE] = _BLANK
    blank = compact_json(document)
    return _CHECKSUM.sub(rb"\g<1>" + hashlib.sha256(blank).hexdigest().encode() + b'"', blank, count=1)


def compact_json(document: Any) -> bytes:
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


def check_checksum(content: bytes, name: str) -> None:
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


def versions_document(latest: str, versions: Sequence[str]) -> bytes:
    """Root document of a place that holds several versions of a store, each in a folder of its own.

    It is a group of Zarr without members, so that any reader can open it and learn where the data are.
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


# The small objects of a store in one, so that one request brings all coordinates.
#
# It is an uncompressed zip of the very objects that are stored beside it, for readers that know of it; all others read
# those. Its name and SHA-256 stand in the attributes of the store.

BUNDLE = "coordinates.zip"
BUNDLE_ATTRIBUTE = "coordinate_bundle"
BUNDLE_CHECKSUM_ATTRIBUTE = "coordinate_bundle_sha256"


def pack_bundle(objects: Mapping[str, bytes]) -> bytes:
    """A zip of objects by key; the same objects give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, content in objects.items():
            archive.writestr(zipfile.ZipInfo(key), content)  # without a date
    return file.getvalue()


def bundle_attributes(content: bytes) -> dict[str, str]:
    """Attributes of the store that holds the bundle."""
    return {BUNDLE_ATTRIBUTE: BUNDLE, BUNDLE_CHECKSUM_ATTRIBUTE: hashlib.sha256(content).hexdigest()}


def unpack_bundle(content: bytes, attributes: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Objects by key.

    Raises
    ------
    DamagedError
        If it is not the bundle that the attributes speak of.
    """
    check_pinned(content, attributes.get(BUNDLE_CHECKSUM_ATTRIBUTE), name)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {key: archive.read(key) for key in archive.namelist()}


# Digests of the shards of a store, in one small object: which shard belongs where, and to which conversion.
#
# The checksums in a shard prove that it is whole, not that it is the one that was written there: a shard of another
# scene passes them too. A crc32c of the whole shard would be no help: every chunk ends with its own crc32c, and what
# follows on that is the same for all chunks of one length (https://en.wikipedia.org/wiki/Cyclic_redundancy_check: the
# residue of a codeword is a constant). So the digest is the SHA-256 of these very checksums and of the index: a
# kilobyte of a shard of 17 MB, which costs nothing, and stands for every byte of it.

DIGESTS = "shards.json"
DIGESTS_ATTRIBUTE = "shard_digests"
DIGESTS_CHECKSUM_ATTRIBUTE = "shard_digests_sha256"

_CRC_NBYTES = 4
_ENTRY_NBYTES = 16  # offset and length of a chunk
_ABSENT = 2**64 - 1


def digest_of(shard: bytes, chunks: int) -> str:
    """SHA-256 of the checksums of the chunks of a shard, in the order of its index, and of the index.

    Parameters
    ----------
    shard : bytes
        An object of the codec ``sharding_indexed`` with its index at the end, whole.
    chunks : int
        Chunks that it has room for.

    Raises
    ------
    ValueError
        If it is shorter than what its index says.
    """
    index = shard[-(chunks * _ENTRY_NBYTES + _CRC_NBYTES) :]
    digest = hashlib.sha256(index)
    for offset, length in np.frombuffer(index[:-_CRC_NBYTES], "<u8").reshape(chunks, 2).tolist():
        if offset != _ABSENT:
            end = offset + length
            digest.update(shard[end - _CRC_NBYTES : end])
    return digest.hexdigest()


def pack_digests(digests: Mapping[str, str]) -> bytes:
    """The object that holds digests by key."""
    return json.dumps(dict(digests), separators=(",", ":")).encode()


def digest_attributes(content: bytes) -> dict[str, str]:
    """Attributes of the store that holds the object of the digests."""
    return {DIGESTS_ATTRIBUTE: DIGESTS, DIGESTS_CHECKSUM_ATTRIBUTE: hashlib.sha256(content).hexdigest()}


def unpack_digests(content: bytes, attributes: Mapping[str, Any], name: str) -> dict[str, str]:
    """Digests by key.

    Raises
    ------
    DamagedError
        If they are not those that the attributes speak of.
    """
    check_pinned(content, attributes.get(DIGESTS_CHECKSUM_ATTRIBUTE), name)
    return dict(json.loads(content))
