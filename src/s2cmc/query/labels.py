"""Labels of scenes that are derived from their coordinates: season, latitude band, split. No pixel is read."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError, name_hint
from s2cmc.schema import LATITUDE_BANDS, SEASONS, SPLITS, tile_name


def _season(catalogue: xr.Dataset) -> np.ndarray:
    """Local meteorological season, by the hemisphere of the UTM zone."""
    quarter = catalogue["time"].dt.month.to_numpy() % 12 // 3
    southern = catalogue["epsg"].to_numpy() // 100 == 327
    return np.array(SEASONS)[(quarter + 2 * southern) % 4]


def _latitude_band(catalogue: xr.Dataset) -> np.ndarray:
    """Latitude band of the centre of each scene; None where there is no outline."""
    latitude = (catalogue["lat_min"].to_numpy() + catalogue["lat_max"].to_numpy()) / 2
    bands = np.full(latitude.shape, None, object)
    for name, (low, high) in LATITUDE_BANDS.items():
        bands[(latitude >= low) & (latitude < high)] = name
    return bands


def _split(catalogue: xr.Dataset) -> np.ndarray:
    """Split of each scene as the catalogue's authors advise it; None where the dataset is in none."""
    splits = np.full(catalogue.sizes["scene"], None, object)
    for name, datasets in SPLITS.items():
        splits[catalogue["dataset"].isin(datasets).to_numpy()] = name
    return splits


_DERIVED = {
    "split": (_split, ("dataset",)),
    "season": (_season, ("time", "epsg")),
    "latitude_band": (_latitude_band, ("lat_min", "lat_max")),
}
"""Function of each label, and the coordinates that it needs."""

DERIVED_WORDS: Mapping[str, Sequence[str]] = {
    "split": tuple(SPLITS),
    "season": SEASONS,
    "latitude_band": tuple(LATITUDE_BANDS),
}
"""Words of each derived label, in their natural order."""


class SceneLabels(Mapping[str, np.ndarray]):
    """Coordinates of the scenes and derived labels by name, each an array (scene,).

    A coordinate of a derived label's name takes its place. Labels are derived when they are taken.

    Parameters
    ----------
    catalogue : Dataset
    """

    def __init__(self, catalogue: xr.Dataset) -> None:
        self._catalogue = catalogue
        self._coordinates = [str(name) for name, c in catalogue.coords.items() if c.dims == ("scene",)]
        self._derived = [name for name in _DERIVED if name not in self._coordinates]

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._coordinates:
            return self._catalogue[name].to_numpy()
        if name not in self._derived:
            raise KeyError(name)
        derive, needed = _DERIVED[name]
        require_coordinates(self._catalogue, needed, name)
        return derive(self._catalogue)

    def __contains__(self, name: object) -> bool:
        return name in self._coordinates or name in self._derived  # deriving nothing

    def __iter__(self) -> Iterator[str]:
        return iter([*self._coordinates, *self._derived])

    def __len__(self) -> int:
        return len(self._coordinates) + len(self._derived)

    def read_text(self, name: str, text: str) -> str:
        """Return a text as it is spelled in the labels of a name, to be compared with these.

        Raises
        ------
        QueryError
            If the labels are derived and the text is none of their words: no scene could ever have it.
        """
        if name == "mgrs_tile":
            return tile_name(text)
        if name in self._derived and text not in DERIVED_WORDS[name]:
            raise QueryError(f"no {name} is called {text!r}; {name_hint(text, DERIVED_WORDS[name])}")
        return text


def require_coordinates(catalogue: xr.Dataset, needed: Sequence[str], name: str) -> None:
    """Refuse a question whose coordinates were dropped.

    Raises
    ------
    CatalogueError
        If one of the needed coordinates is not in the Dataset.
    """
    for coordinate in needed:
        if coordinate not in catalogue.coords:
            raise CatalogueError(f"this Dataset has no {coordinate!r}, which is needed to ask by {name}; keep it")
