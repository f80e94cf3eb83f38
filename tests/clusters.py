"""What clusters gave, to compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
from distributed import Client


def on(client: Client, reduction: Callable[[], Any]) -> Any:
    """What a reduction gives on a cluster, also where it computes by itself."""
    with client.as_current(), dask.config.set(scheduler="dask.distributed"):
        return reduction().compute()


def objects_of(store: Path) -> dict[str, bytes]:
    """Every object but the root, which holds the time of conversion."""
    files = (path for path in store.rglob("*") if path.is_file() and path != store / "zarr.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in files}
