"""Entry points of xarray: the engine ``s2cmc``, and a manager of dask arrays."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.namedarray.daskmanager import DaskManager
from xarray.namedarray.parallelcompat import list_chunkmanagers

from s2cmc.storage import Access
from s2cmc.store.lazy import preferred_chunks
from s2cmc.store.open import open_catalogue


class CatalogueBackend(BackendEntrypoint):
    """Backend of xarray that calls `open_catalogue`; options of `s2cmc.Access` are keyword arguments.

    As with every engine, ``chunks=None``, the default of `xarray.open_dataset`, gives arrays without dask, which are
    read by ``.values``, and ``chunks={}`` gives dask arrays with the chunks of `open_catalogue`.
    """

    description = "Open the Sentinel-2 Cloud Mask Catalogue"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", *(field.name for field in fields(Access)))

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None, **options: Any
    ) -> xr.Dataset:
        """Open a catalogue; see `open_catalogue`."""
        opened = open_catalogue(filename_or_obj, chunks=None, **options)
        for variable in opened.variables.values():
            variable.encoding |= preferred_chunks(variable)
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return opened.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:  # noqa: ARG002
        """Return False: the engine has to be named, because looking into a store may take requests."""
        return False


class PlainDaskManager(DaskManager):
    """Chunk manager of xarray for `dask.array.Array` where the one named "dask" knows only arrays of another class.

    ``dask_array.xarray.register()`` installs such a one; xarray could then not compute pixels of a catalogue.
    See https://docs.xarray.dev/en/stable/internals/chunked-arrays.html.
    """

    def is_chunked_array(self, data: Any) -> bool:
        """Return True for a dask Array that the manager named "dask" does not take."""
        dask: Any = list_chunkmanagers().get("dask")
        return isinstance(data, self.array_cls) and dask is not None and not dask.is_chunked_array(data)
