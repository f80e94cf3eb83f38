"""Stores as accidents leave them."""

import json
from pathlib import Path
from typing import Any

SHARD = "reflectance/c/{}/0/0/0"


def objects(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def without_dates(root: bytes) -> dict[str, Any]:
    """A root document without what tells when it was made."""
    document = json.loads(root)
    for name in ("date_created", "history", "metadata_sha256"):
        del document["attributes"][name]
    return document


def flip(path: Path, part: float = 0.4) -> None:
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 8
    path.write_bytes(content)


def swap(store: Path) -> None:
    """Two scenes change places; every checksum of theirs holds."""
    first, second = store / SHARD.format(0), store / SHARD.format(1)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
