"""The small objects of a store in one, so that one request brings all coordinates.

It is an uncompressed zip of the very objects that are stored beside it, for readers that know of it; all others read
those. Its name and SHA-256 stand in the attributes of the store.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

from s2cmc.metadata import check_pinned

BUNDLE = "coordinates.zip"
NAME_ATTRIBUTE = "coordinate_bundle"
CHECKSUM_ATTRIBUTE = "coordinate_bundle_sha256"


def pack(objects: Mapping[str, bytes]) -> bytes:
    """A zip of objects by key; the same objects give the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, content in objects.items():
            archive.writestr(zipfile.ZipInfo(key), content)  # without a date
    return file.getvalue()


def bundle_attributes(content: bytes) -> dict[str, str]:
    """Attributes of the store that holds the bundle."""
    return {NAME_ATTRIBUTE: BUNDLE, CHECKSUM_ATTRIBUTE: hashlib.sha256(content).hexdigest()}


def unpack(content: bytes, attributes: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Objects by key.

    Raises
    ------
    DamagedError
        If it is not the bundle that the attributes speak of.
    """
    check_pinned(content, attributes.get(CHECKSUM_ATTRIBUTE), name)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {key: archive.read(key) for key in archive.namelist()}
