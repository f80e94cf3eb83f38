"""Check the georeference of a scene: compare its pixels with those of its original Level-1C product."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.geo.level1c import L1CWindow, find_bands, l1c_window, native_resolution, read_pixels
from s2cmc.geo.scenes import SceneKey, position
from s2cmc.schema import BANDS, DN_PER_REFLECTANCE, OUTLINE_MARGIN, PIXEL_SIZE, TILE_SIZE, edges
from s2cmc.storage import Location
from s2cmc.store import to_reflectance

ENOUGH = 0.99
"""Share of the pixels that must be equal at the true place of a scene. Of the three scenes tried, all were equal."""

LEAD = 100
"""Equal pixels that the best placement must have more than all others; with fewer, a flat scene could be anywhere."""

_NO_DATA, _SATURATED = 0, 65535
_ROWS = 64  # rows that are compared in every placement, about; all rows in the likely placements
_BATCH = 200  # placements that a thread compares in one call
_FULL_COMPARISONS = 16  # placements that are compared in full in any case
_REASONS = {
    "no data": "the scene has too few pixels with data",
    "flat": "the scene is too flat: it fits several placements alike",
    "other pixels": "it fits nowhere: these are pixels of another product, or were changed",
    "elsewhere": "it lies elsewhere",
    "here": "it lies where the catalogue says",
}


@dataclass(frozen=True, eq=False)
class GeoreferenceCheck:
    """Result of comparing a scene with its original, pixel by pixel, in every placement around its own.

    Attributes
    ----------
    scene, band : str
    pixels : int
        Pixels with data in the scene, neither DN 0 nor 65535; only these are compared.
    fractions : DataArray (inset_y, inset_x), float64
        Share of these pixels that have the original's DN, 0 to 1. Insets are from the upper left corner of the
        published outline to that of the array, pixels; negative where the array would begin outside the outline. In
        placements with coordinate ``exact`` all pixels were compared. In the others it was every n-th row, of which so
        many pixels differ that the placement is impossible.
    claimed : tuple of int
        Inset (y, x) of the catalogue's georeference.
    stretched : float, optional
        Share of equal pixels if the array is stretched over its whole outline, nearest pixel: a misreading of the
        release. None if the outline is that of the array, or only a part of the array is compared.
    """

    scene: str
    band: str
    pixels: int
    fractions: xr.DataArray
    claimed: tuple[int, int]
    stretched: float | None

    @property
    def best(self) -> tuple[int, int]:
        """Inset (y, x) with most equal pixels; of several, the claimed one if it is among them."""
        first = self._ranked(0)
        return self.claimed if self._count(self.claimed) == self._count(first) else first

    @property
    def runner_up(self) -> tuple[int, int]:
        """Inset (y, x) with most equal pixels after the best."""
        first, second = self._ranked(0), self._ranked(1)
        return second if self.best == first else first

    @property
    def verdict(self) -> Literal["passes", "fails", "undecided"]:
        """``passes`` if the scene is where the catalogue says, ``undecided`` if its pixels fit several places alike."""
        if self._finding in ("no data", "flat"):
            return "undecided"
        return "passes" if self._finding == "here" else "fails"

    @property
    def passes(self) -> bool:
        """True if the pixels prove the georeference."""
        return self.verdict == "passes"

    @property
    def _finding(self) -> str:
        """Key of `_REASONS`."""
        best, second, claimed = (self._count(inset) for inset in (self.best, self.runner_up, self.claimed))
        if self.pixels < LEAD:
            return "no data"
        if best < ENOUGH * self.pixels:
            return "other pixels"
        if best - claimed < LEAD and best - second < LEAD:
            return "flat"
        return "here" if self.best == self.claimed else "elsewhere"

    def _count(self, inset: tuple[int, int]) -> int:
        return round(self._fraction(inset) * self.pixels)

    def _fraction(self, inset: tuple[int, int]) -> float:
        return float(self.fractions.sel(inset_y=inset[0], inset_x=inset[1]))

    def _ranked(self, rank: int) -> tuple[int, int]:
        """Return the inset (y, x) of a rank, 0 for the best, among the placements that were compared in full."""
        shares = self.fractions.where(self.fractions["exact"], -1).to_numpy()
        row, column = np.unravel_index(np.argsort(-shares, axis=None, kind="stable")[rank], shares.shape)
        return int(self.fractions["inset_y"][row]), int(self.fractions["inset_x"][column])

    def __str__(self) -> str:
        insets = {"claimed": self.claimed, "best": self.best, "runner-up": self.runner_up}
        rows = [(name, f"{y}, {x}", self._fraction((y, x))) for name, (y, x) in insets.items()]
        if self.stretched is not None:
            rows.append(("stretched", "whole outline", self.stretched))
        return "\n".join(
            [
                f"{self.scene} {self.band}: {self.verdict}, {_REASONS[self._finding]}",
                f"  {'placement':10} {'inset (y, x)':>13} {'equal pixels':>14}",
                *(f"  {name:10} {inset:>13} {100 * share:>12.4f} %" for name, inset, share in rows),
                f"  {self.pixels:,} pixels with data, {self.fractions.size:,} placements",
            ]
        )


def check_georeference(catalogue: xr.Dataset, key: SceneKey, source: Location, band: str = "B11") -> GeoreferenceCheck:
    """Compare a scene with its original in all placements up to 65 pixels around its own, exactly.

    Parameters
    ----------
    catalogue : Dataset
    key : str, int or (tile, date)
        See `position`.
    source : str or path
        The product's SAFE folder, or another source that `read_l1c` takes; only this band is needed.
    band : str
        A band of 20 m. Bands of 10 and 60 m were resampled for the catalogue and are not equal to their originals.

    Raises
    ------
    QueryError
        If there is no such scene or band, or the band is not of 20 m.
    SceneError
        If the scene has no georeference or is outside its tile, or the file is missing or of another tile.
    """
    if native_resolution(band) != PIXEL_SIZE:
        native = ", ".join(known.name for known in BANDS if known.resolution == PIXEL_SIZE)
        raise QueryError(f"{band} has pixels of {native_resolution(band)} m; only those of 20 m can be equal: {native}")
    at, bands = position(catalogue, key), list(catalogue["band"].to_numpy())
    if band not in bands:
        raise QueryError(f"this catalogue was opened without {band}; it has {', '.join(map(str, bands))}")
    window = l1c_window(catalogue, key)
    path = find_bands(window, source, [band])[band]
    pixels_of_band = catalogue["reflectance"].isel(scene=at, band=bands.index(band)).transpose("y", "x")
    has_data, own = _digital_numbers(pixels_of_band.sortby("y", ascending=False).sortby("x").to_numpy())
    margin = int(catalogue["outline_margin"][at])
    (west, _), (_, north) = edges(catalogue, "x"), edges(catalogue, "y")
    claimed = margin + round(-north / PIXEL_SIZE), margin + round(west / PIXEL_SIZE)
    original, first = _read_surroundings(window, path)
    pixels = int(has_data.sum())
    shares, exact = _compare(own, original, pixels, first)
    insets = {
        f"inset_{axis}": inset - start + np.arange(n)
        for axis, inset, start, n in zip("yx", claimed, first, shares.shape, strict=True)
    }
    dims = ("inset_y", "inset_x")
    fractions = xr.DataArray(
        shares,
        insets | {"exact": (dims, exact)},
        dims,
        name="fraction",
        attrs={"long_name": f"share of the pixels of {band} that are equal to the original", "units": "1"},
    )
    stretched = None
    if margin and claimed == (margin, margin):  # the whole array, because only that could fill its outline
        stretched = _count_stretched(own, original, first, margin) / max(pixels, 1)
    return GeoreferenceCheck(window.product_id, band, pixels, fractions, claimed, stretched)


def _digital_numbers(reflectance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a scene has data, bool, and its DN, uint16: 0 for a pixel that must not count as equal."""
    values = np.nan_to_num(reflectance, nan=0.0, posinf=0.0, neginf=0.0)
    dn = np.clip(np.rint(values.astype(np.float64) * DN_PER_REFLECTANCE), _NO_DATA, _SATURATED).astype(np.uint16)
    whole = to_reflectance(dn) == values
    has_data = (values != 0) & ~(whole & (dn == _SATURATED))
    return has_data, np.where(has_data & whole, dn, np.uint16(_NO_DATA))


def _read_surroundings(window: L1CWindow, path: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Read DN of the original up to 65 pixels around a scene, within its tile; also return where the scene begins."""
    rows, columns = window.window(int(PIXEL_SIZE)).slices
    around_y, around_x = _widen(rows), _widen(columns)
    original = read_pixels(path, around_y, around_x, window.product_id)
    # No data must not equal no data: it is 0 in the scene and 65535 here, and neither of the two has the other value.
    original = np.where(original == _NO_DATA, np.uint16(_SATURATED), original)
    return original, (rows.start - around_y.start, columns.start - around_x.start)


def _widen(pixels: slice) -> slice:
    size = int(TILE_SIZE // PIXEL_SIZE)
    return slice(max(pixels.start - OUTLINE_MARGIN, 0), min(pixels.stop + OUTLINE_MARGIN, size))


def _compare(
    own: np.ndarray, original: np.ndarray, pixels: int, claimed: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the array with the original at every place (y, x) where it fits.

    Returns
    -------
    shares : ndarray (y, x), float64
        Share of equal pixels with the array at each place.
    exact : ndarray (y, x), bool
        True where the share is of all pixels; elsewhere it is of every n-th row.
    """
    # A scene of 1022 x 1022 pixels in an original of 1152 x 1152, claimed at (65, 65):
    #   places    131 x 131 = 17,161: to compare a million pixels in each of them would take long
    #   step      1022 // 64 = 15, so rows 0, 15, ..., 1020: 69 of them, 70,518 pixels, in all places
    #   exact     at the true place at most 1 % of all 1,044,484 pixels differ, 10,445, so no more of these rows either.
    #             Where more than that and `LEAD` differ, the place is impossible, and far behind a possible one
    #   in full   the places that are left, the claimed one and the 16 best, which are reported
    places = [size - n + 1 for size, n in zip(original.shape, own.shape, strict=True)]
    step = max(1, own.shape[0] // _ROWS)
    compared = np.count_nonzero(own[::step])
    counts = _count_equal(own, original, list(np.ndindex(*places)), step).reshape(places)
    shares = counts / max(compared, 1)
    exact = compared - counts <= (1 - ENOUGH) * pixels + LEAD
    exact[claimed] = True
    exact.flat[np.argsort(-shares, axis=None, kind="stable")[:_FULL_COMPARISONS]] = True
    shares[exact] = _count_equal(own, original, np.argwhere(exact).tolist(), 1) / max(pixels, 1)
    return shares, exact


def _count_equal(own: np.ndarray, original: np.ndarray, places: Sequence[Sequence[int]], step: int) -> np.ndarray:
    """Count the equal pixels in every `step`-th row, with the array at each of some places (y, x) of the original."""
    height, width = own.shape
    rows = own[::step]

    def count(batch: Sequence[Sequence[int]]) -> list[int]:
        parts = (original[y : y + height : step, x : x + width] for y, x in batch)
        return [int(np.count_nonzero(rows == part)) for part in parts]

    with ThreadPoolExecutor() as pool:  # NumPy releases the interpreter's lock while it compares
        batches = pool.map(count, (places[i : i + _BATCH] for i in range(0, len(places), _BATCH)))
        return np.array([n for batch in batches for n in batch], np.int64)


def _count_stretched(own: np.ndarray, original: np.ndarray, first: tuple[int, int], margin: int) -> int:
    """Count the equal pixels if the array is stretched over an outline that is wider by `margin` on each side."""
    # Of 1022 pixels stretched over 1152, pixel i is centred at (i + 0.5) * 1152 / 1022 of the outline: 0 at 0.56, which
    # is in pixel 0, and 1021 at 1151.4, in pixel 1151. In the original, the outline begins at `first` - `margin`.
    nearest, within = [], []
    for n, start, size in zip(own.shape, first, original.shape, strict=True):
        pixels = start - margin + ((np.arange(n) + 0.5) * (n + 2 * margin) / n).astype(int)
        within.append((pixels >= 0) & (pixels < size))  # an outline may reach beyond the tile
        nearest.append(np.clip(pixels, 0, size - 1))
    return int(((own == original[np.ix_(*nearest)]) & np.logical_and.outer(*within)).sum())
