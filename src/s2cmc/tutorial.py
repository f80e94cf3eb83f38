"""A small synthetic catalogue for examples and first steps, made on this machine when it is first opened."""

import os
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from s2cmc import store
from s2cmc.errors import CatalogueError
from s2cmc.schema import FORMAT_VERSION

_SCENES, _SIZE, _SEED = 8, 128, 0
"""From 8 scenes on a synthetic release has every tag and every dataset; two scenes have masks of both annotators."""


def open_catalogue(cache_dir: str | os.PathLike[str] | None = None) -> xr.Dataset:
    """Open the synthetic tutorial catalogue: 8 scenes of 128 x 128 pixels.

    The first call makes a store of 3 MB in a few seconds; later calls open it. Pixels are made up: they look like
    Sentinel-2, but nothing was measured, and ``ds.attrs`` says so. Each version of s2cmc makes a store of its own.

    Parameters
    ----------
    cache_dir : str or path, optional
        Folder for the store; by default ``s2cmc`` in the user's cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``).

    Returns
    -------
    Dataset
        As `s2cmc.open_catalogue` returns it, with ``ds.attrs["synthetic"]`` ``"true"``.

    Raises
    ------
    CatalogueError
        If a package of ``s2cmc[convert]`` is missing, or the folder cannot be written.

    Examples
    --------
    >>> import s2cmc.tutorial
    >>> ds = s2cmc.tutorial.open_catalogue()
    >>> ds.clouds.select("cumulus and not snow_ice").sizes["scene"]
    2
    >>> ds.attrs["title"]
    'Synthetic sample of the Sentinel-2 Cloud Mask Catalogue'
    """
    folder = _user_cache() if cache_dir is None else Path(cache_dir).expanduser()
    path = folder / f"tutorial-{version('s2cmc')}-format-{FORMAT_VERSION}.zarr"
    if not path.exists():
        _make(path)
    return store.open_catalogue(path)


def _user_cache() -> Path:
    """Return the folder of s2cmc in the user's cache folder, after the XDG Base Directory Specification."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification has relative paths ignored.
    return (configured if configured.is_absolute() else Path.home() / ".cache") / "s2cmc"


def _make(path: Path) -> None:
    """Make the store beside `path` and rename it: another process sees all of it or nothing."""
    try:
        from s2cmc.conversion import convert
        from s2cmc.synthetic import make_release

        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix="tutorial-") as folder:
            release = make_release(Path(folder, "release"), scenes=_SCENES, size=_SIZE, seed=_SEED)
            made = Path(folder, "catalogue.zarr")
            convert(str(release), str(made))
            _rename(made, path)
    except ModuleNotFoundError as error:
        raise CatalogueError(
            f"the tutorial catalogue is made with {error.name}, which is missing; install it with: "
            "pip install 's2cmc[convert]'"
        ) from error
    except OSError as error:
        raise CatalogueError(
            f"{path} cannot be written: {error}; choose another folder with open_catalogue(cache_dir=...)"
        ) from error


def _rename(made: Path, path: Path) -> None:
    """Rename the store to `path`, unless another process was faster: its store holds the same pixels."""
    try:
        made.rename(path)
    except OSError:
        if not path.exists():
            raise
