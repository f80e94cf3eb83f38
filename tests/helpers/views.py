"""What a reader in another process saw of a store, and the same as `open_catalogue` gives it."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr


class Seen(NamedTuple):
    """What was told of a store: its attributes and arrays, and the folder with their numbers."""

    attrs: dict[str, Any]
    arrays: dict[str, dict[str, Any]]
    numbers: Path

    @property
    def names(self) -> set[str]:
        """Arrays that are in the store."""
        return {name for name in self.arrays if not name.startswith("part-")}

    def values(self, name: str, dtype: str) -> np.ndarray:
        """Numbers of an array."""
        return np.frombuffer((self.numbers / name).read_bytes(), dtype).reshape(self.arrays[name]["shape"])


def read_by(command: Sequence[str | Path], place: str, numbers: Path) -> Seen:
    """Run a reader: it prints JSON of attributes and arrays, and writes a file of numbers for each array."""
    done = subprocess.run([*command, place, numbers], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return Seen(**json.loads(done.stdout), numbers=numbers)


def dn(reflectance: xr.DataArray) -> np.ndarray:
    """Digital numbers of reflectance."""
    return np.rint(reflectance.values * 10_000.0)


def check_parts(seen: Seen, catalogue: xr.Dataset) -> None:
    """Hold a band and a window across chunks against a catalogue."""
    band = catalogue.reflectance[3].sel(band="B8A")
    np.testing.assert_array_equal(seen.values("part-band", "<u2"), dn(band))
    window = catalogue.reflectance[4, 20:40, 30:35].sel(band=["B02", "B03", "B04"])
    np.testing.assert_array_equal(seen.values("part-window", "<u2"), dn(window))


def check_labels(seen: Seen, catalogue: xr.Dataset, name: str) -> None:
    """Hold masks against a catalogue, which shows no label where the source was not one-hot."""
    stored = seen.values(name, "u1")
    np.testing.assert_array_equal(np.where(stored >= 240, 255, stored), catalogue[name])
    assert (stored > 240).any()


def check_coordinates(seen: Seen, catalogue: xr.Dataset, boolean: str = "bool") -> None:
    """Hold every coordinate against a catalogue: text, times, numbers, and booleans, shown as `boolean`."""
    for name, coordinate in catalogue.coords.items():
        array = seen.arrays[name]
        if coordinate.dtype.kind == "U":
            assert (array["dtype"], array["text"]) == ("string", coordinate.values.tolist())
        elif name == "time":
            assert array["attrs"]["units"] == "seconds since 1970-01-01"
            seconds = seen.values(name, "<i8").astype("datetime64[s]")
            np.testing.assert_array_equal(seconds.astype("datetime64[ns]"), coordinate)
        else:
            assert array["dtype"] == (boolean if coordinate.dtype == bool else coordinate.dtype.name)
            np.testing.assert_array_equal(seen.values(name, coordinate.dtype.str), coordinate)
