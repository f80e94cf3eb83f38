"""Plain xarray on a catalogue as it is opened by default, against tensorstore and the same with numpy."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import data
import numpy as np
import pytest
import table
from table import timed
from zarrpeers import Tensorstore

import s2cmc

SCENES = 8
FIRST = 4
"""Scenes 4 to 11: half of them have real pixels."""

WINDOW = slice(300, 556)


class PlainXarray:
    """The eight scenes by the usual ways of xarray."""

    def __init__(self) -> None:
        self.ds = s2cmc.open_catalogue(data.scenes_store()).isel(scene=slice(FIRST, FIRST + SCENES))
        self.R = self.ds.reflectance


class Numpy(Tensorstore):
    """The eight scenes by tensorstore and numpy, which skips NaN as xarray does; scenes are read ahead of the work."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__(data.SCENES, pool)
        window = slice(FIRST, FIRST + SCENES)
        self.dn, self.labels = self._reflectance[window].translate_to[0], self._mask[window].translate_to[0]

    def one(self, scene: int, bands: Any = slice(None)) -> np.ndarray:
        """Bands of a scene (band, y, x)."""
        return self.to_float(self.dn[scene].transpose([2, 0, 1])[bands].read(order="C").result())

    def of_all(self, band: int, scenes: Any = slice(None)) -> np.ndarray:
        """A band of many scenes (scene, y, x)."""
        return self.to_float(self.dn[scenes][:, :, :, band].read(order="C").result())

    def each(self) -> Iterator[np.ndarray]:
        """All scenes, one after the other (band, y, x)."""
        reads = [self.dn[scene].transpose([2, 0, 1]).read(order="C") for scene in range(2)]
        for scene in range(SCENES):
            if scene + 2 < SCENES:
                reads.append(self.dn[scene + 2].transpose([2, 0, 1]).read(order="C"))
            yield self.to_float(reads.pop(0).result())


def _ndsi(green: Any, swir: Any) -> Any:
    return (green - swir) / (green + swir)


def _masked_mean(ts: Numpy) -> np.ndarray:
    labels, sums, counts = ts.labels.read().result(), np.zeros(13), np.zeros(13)
    for i, scene in enumerate(ts.each()):
        clear = np.where(labels[i] == 0, scene, np.nan)
        sums += np.nansum(clear, axis=(1, 2), dtype=np.float64)
        counts += np.count_nonzero(~np.isnan(clear), axis=(1, 2))
    return sums / counts


def _by_annotator(ts: Numpy, annotators: np.ndarray) -> list[float]:
    return [np.nanmean(ts.of_all(3, np.flatnonzero(annotators == name).tolist())) for name in np.unique(annotators)]


TRUE_COLOR = ["B04", "B03", "B02"]
ALL = ["scene", "y", "x"]

WORKS: dict[str, tuple[float, Callable[[PlainXarray, int], Any], Callable[[Numpy, int, PlainXarray], Any]]] = {
    "R.isel(scene=1)": (
        0.9,
        lambda x, i: x.R.isel(scene=i),
        lambda ts, i, x: np.moveaxis(ts.one(i), 0, -1),
    ),
    "a scene, then three bands": (
        1.3,
        lambda x, i: x.R.isel(scene=i).sel(band=TRUE_COLOR),
        lambda ts, i, x: np.moveaxis(ts.one(i, slice(1, 4)), 0, -1)[..., ::-1],
    ),
    "three bands, then a scene": (
        1.3,
        lambda x, i: x.R.sel(band=TRUE_COLOR).isel(scene=i),
        lambda ts, i, x: np.moveaxis(ts.one(i, slice(1, 4)), 0, -1)[..., ::-1],
    ),
    "a scene, then a band": (
        1.5,
        lambda x, i: x.R.isel(scene=i).sel(band="B04"),
        lambda ts, i, x: ts.one(i, 3),
    ),
    "a list of scenes, then a band": (
        1.3,
        lambda x, i: x.R.isel(scene=[0, 2, 4]).sel(band="B04"),
        lambda ts, i, x: ts.of_all(3, [0, 2, 4]),
    ),
    "a band of ds.sel(scene=cloud_percent > 20)": (
        1.3,
        lambda x, i: x.ds.sel(scene=x.ds.cloud_percent > 20).reflectance.sel(band="B11"),
        lambda ts, i, x: ts.of_all(11, np.flatnonzero(x.ds.cloud_percent.values > 20).tolist()),
    ),
    "R.isel(scene=1)[300:556, 300:556]": (
        1.1,
        lambda x, i: x.R.isel(scene=i)[WINDOW, WINDOW],
        lambda ts, i, x: ts.to_float(ts.dn[i, WINDOW, WINDOW].read().result()),
    ),
    "a band of all": (1.2, lambda x, i: x.R.sel(band="B04"), lambda ts, i, x: ts.of_all(3)),
    "  its mean": (1.2, lambda x, i: x.R.sel(band="B04").mean(), lambda ts, i, x: np.nanmean(ts.of_all(3))),
    '(ds["mask"] == 1).mean(["y", "x"])': (
        1.1,
        lambda x, i: (x.ds["mask"] == 1).mean(["y", "x"]),
        lambda ts, i, x: (ts.labels.read().result() == 1).mean(axis=(1, 2)),
    ),
    "(B03 - B11).mean()": (
        1.3,
        lambda x, i: (x.R.sel(band="B03") - x.R.sel(band="B11")).mean(),
        lambda ts, i, x: np.nanmean(ts.of_all(2) - ts.of_all(11)),
    ),
    'R.mean(["scene", "y", "x"])': (
        0.6,
        lambda x, i: x.R.mean(ALL),
        lambda ts, i, x: np.mean([np.nanmean(scene, axis=(1, 2)) for scene in ts.each()], axis=0),
    ),
    'R.std(["scene", "y", "x"])': (
        0.6,
        lambda x, i: x.R.std(ALL),
        lambda ts, i, x: np.nanstd(np.stack(list(ts.each())), axis=(0, 2, 3)),
    ),
    'R.where(ds["mask"] == 0).mean(["scene", "y", "x"])': (
        1.3,
        lambda x, i: x.R.where(x.ds["mask"] == 0).mean(ALL),
        lambda ts, i, x: _masked_mean(ts),
    ),
    'a band, groupby("annotator").map(mean)': (
        1.3,
        lambda x, i: x.R.sel(band="B04").groupby("annotator").map(lambda part: part.mean()),
        lambda ts, i, x: _by_annotator(ts, x.ds.annotator.values),
    ),
    "a band, coarsen(y=2, x=2).mean()": (
        1.3,
        lambda x, i: x.R.sel(band="B04").coarsen(y=2, x=2).mean(),
        lambda ts, i, x: np.nanmean(ts.of_all(3).reshape(SCENES, 511, 2, 511, 2), axis=(2, 4)),
    ),
    "NDSI": (
        1.3,
        lambda x, i: _ndsi(x.R.sel(band="B03"), x.R.sel(band="B11")).mean(),
        lambda ts, i, x: np.nanmean(_ndsi(ts.of_all(2), ts.of_all(11))),
    ),
}
"""By the work: most that ours may take in units of tensorstore and numpy, ours, and theirs."""


@pytest.fixture(scope="module")
def both(pool: ThreadPoolExecutor) -> tuple[PlainXarray, Numpy]:
    """Ours and theirs, opened once."""
    return PlainXarray(), Numpy(pool)


@pytest.mark.parametrize("work", WORKS)
def test_plain_xarray(work: str, both: tuple[PlainXarray, Numpy], rows: list[table.Row]) -> None:
    """Values are those of the peer; seconds are compared with it."""
    ours, peer = both
    goal, ask, ask_peer = WORKS[work]
    np.testing.assert_allclose(ask(ours, 1).values, ask_peer(peer, 1, ours), rtol=2e-4)
    asks = [
        (table.OURS, lambda repeat: ask(ours, repeat % SCENES).values),
        (peer.name, lambda repeat: ask_peer(peer, repeat % SCENES, ours)),
    ]
    rows.append(timed(work, asks, {peer.name: goal}, repeats=9))
