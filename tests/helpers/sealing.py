"""Stores changed by hand and sealed again, as somebody would who knows how."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2cmc.store.format import BUNDLE, ROOT, bundle_attributes, pack_bundle, with_checksum


def reseal(store: Path, edit: Callable[[dict[str, Any]], object] = lambda document: None) -> None:
    """Edit the root document, bundle the coordinates anew, and seal both."""
    document = json.loads((store / ROOT).read_bytes())
    small = [name for name, array in document["consolidated_metadata"]["metadata"].items() if len(array["shape"]) == 1]
    bundle = pack_bundle({f"{name}/c/0": (store / name / "c" / "0").read_bytes() for name in small})
    edit(document)
    document["attributes"] |= bundle_attributes(bundle)
    (store / BUNDLE).write_bytes(bundle)
    (store / ROOT).write_bytes(with_checksum(document))
