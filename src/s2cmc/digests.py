"""Digests of the shards of a store, in one small object: which shard belongs where, and to which conversion.

The checksums in a shard prove that it is whole, not that it is the one that was written there: a shard of another scene
passes them too. A crc32c of the whole shard would be no help: every chunk ends with its own crc32c, and what follows on
that is the same for all chunks of one length (https://en.wikipedia.org/wiki/Cyclic_redundancy_check: the residue of a
codeword is a constant). So the digest is the SHA-256 of these very checksums and of the index: a kilobyte of a shard of
17 MB, which costs nothing, and stands for every byte of it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from s2cmc.metadata import check_pinned

DIGESTS = "shards.json"
NAME_ATTRIBUTE = "shard_digests"
CHECKSUM_ATTRIBUTE = "shard_digests_sha256"

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
    return {NAME_ATTRIBUTE: DIGESTS, CHECKSUM_ATTRIBUTE: hashlib.sha256(content).hexdigest()}


def unpack_digests(content: bytes, attributes: Mapping[str, Any], name: str) -> dict[str, str]:
    """Digests by key.

    Raises
    ------
    DamagedError
        If they are not those that the attributes speak of.
    """
    check_pinned(content, attributes.get(CHECKSUM_ATTRIBUTE), name)
    return dict(json.loads(content))
