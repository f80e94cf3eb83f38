"""The accessor ``ds.clouds``. Every method checks that its coordinates are there and forwards to a package.

Methods of statistics, evaluation and place are inherited from modules beside this one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr
from numpy.typing import ArrayLike

from s2cmc import query, report, statistics, training
from s2cmc.accessor._evaluation import EvaluationAccessor
from s2cmc.accessor._geo import PLACED, GeoAccessor
from s2cmc.accessor._statistics import StatisticsAccessor
from s2cmc.schema import TAG_NAMES, Box, Moment
from s2cmc.training import Patches

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PATCHED = ("scene", "y", "x", "band", *training.VARIABLES)


@xr.register_dataset_accessor("clouds")
class CloudsAccessor(StatisticsAccessor, EvaluationAccessor, GeoAccessor):
    """Questions to a catalogue opened by `s2cmc.open_catalogue`, or to any part of one.

    Every answer is an ordinary xarray object, and lazy where it needs pixels.
    """

    def select(
        self,
        expression: str | None = None,
        *,
        split: str | None = None,
        shadows_marked: bool | None = None,
        difficulty: int | Collection[int] | None = None,
        dataset: str | Collection[str] | None = None,
        annotator: str | Collection[str] | None = None,
        has_alt_mask: bool | None = None,
        time: Moment | slice | tuple[Moment, Moment] = None,
        bbox: Box | None = None,
        intersects: object | None = None,
        bands: Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Scenes that meet every condition. No pixel is read.

        Parameters
        ----------
        expression : str, optional
            Boolean algebra over the scene coordinates as in `pandas.DataFrame.query`, e.g.
            ``"snow_ice and (thin or cirrus)"``, ``"cloud_percent > 50 & ~cumulus"``, ``"time >= '2018-06-01'"``;
            published names in backticks.
        split : {"train", "test"}, optional
            As the catalogue's authors advise: ``test`` is CALIBRATION and VALIDATION, ``train`` is MAIN. In the full
            catalogue two dependence groups have scenes in both.
        shadows_marked : bool, optional
            Whether cloud shadows were annotated; where they were not, clear may hide shadow.
        difficulty : int or collection of int, optional
            1 (easy) to 5 (hard).
        dataset : str or collection of str, optional
            ``MAIN``, ``VALIDATION``, ``CALIBRATION``.
        annotator : str or collection of str, optional
            ``A``, ``B``: who made `mask`.
        has_alt_mask : bool, optional
            Whether the other annotator made a mask too.
        time : str, slice or pair, optional
            ``"2018-06"`` (all of June), ``slice("2018-03", "2018-05")``, a pair of dates; both ends are included.
        bbox : (west, south, east, north), optional
            Degrees; scenes whose footprint touches it, or, where y and x are gone, whose bounds do. West above east
            crosses the antimeridian.
        intersects : geometry, optional
            Scenes whose footprint shares a point with it: of shapely or GeoJSON, in degrees, longitude first; or a
            GeoSeries or GeoDataFrame, whose edges are straight in its CRS.
        bands : sequence of str, optional
            ``["B04", "B03", "B02"]``: these bands of `reflectance` in this order. Only they are read then; after
            ``.sel(band=[...])`` with a list, dask reads all thirteen first.

        Returns
        -------
        Dataset
            With the same variables and fewer scenes, possibly none, and the bands that were asked for.

        Raises
        ------
        QueryError
            If a name or value does not exist; the message offers the nearest ones.
        """
        return query.select(
            self._part("scene", *(PLACED if intersects is not None else ())),
            expression,
            split=split,
            shadows_marked=shadows_marked,
            difficulty=difficulty,
            dataset=dataset,
            annotator=annotator,
            has_alt_mask=has_alt_mask,
            time=time,
            bbox=bbox,
            intersects=intersects,
            bands=bands,
        )

    @property
    def tags(self) -> xr.DataArray:
        """All 24 tags as one array (scene, tag), bool, with coordinate ``tag_group`` on ``tag``."""
        return query.tags(self._part("scene", *TAG_NAMES))

    @property
    def tag_groups(self) -> dict[str, list[str]]:
        """Names of the tags by the question they answer: surface type, cloud type, thickness, height, extent."""
        return query.tag_groups()

    @property
    def groups(self) -> xr.DataArray:
        """Dependence group of each scene (scene,), int32, for group-wise splits and resampling.

        Scenes of one tile, or of one date and relative orbit, are not independent: keep them together, e.g. with
        scikit-learn's ``GroupKFold``.
        """
        return self._part("group")["group"]

    def random_split(self, fractions: Mapping[str, float], *, seed: int = 0) -> xr.DataArray:
        """Name a part for every scene at random, with all scenes of a dependence group in one part.

        Parameters
        ----------
        fractions : mapping of str to float
            Share of the scenes by name of the part, adding up to 1, e.g. ``{"train": 0.8, "valid": 0.2}``. Met to
            within half a group at each boundary.
        seed : int

        Returns
        -------
        DataArray (scene,), str
            For ``ds.isel(scene=parts == "train")``.
        """
        return query.random_split(self._part("scene", "group"), fractions, seed)

    def class_counts(self) -> xr.DataArray:
        """Pixels of each class in each scene (scene, mask_class), int64; lazy."""
        return statistics.class_counts(self._part("mask")["mask"])

    def class_fractions(self) -> xr.DataArray:
        """Fraction of each class among the labelled pixels of each scene (scene, mask_class), float64, 0..1; lazy."""
        return statistics.class_fractions(self._part("mask")["mask"])

    def one_hot(self) -> xr.DataArray:
        """`mask` as one plane for each class (scene, y, x, mask_class), bool, all false without a label; lazy."""
        return statistics.one_hot(self._part("mask")["mask"])

    def patches(
        self,
        size: int | tuple[int, int] = 256,
        *,
        batch: int = 32,
        count: int | None = None,
        scenes_per_batch: int | None = None,
        seed: int = 0,
    ) -> Patches:
        """Random patches with their labels, shuffled, in batches for training. Nothing is read before it is asked for.

        Each batch is read by itself: every chunk of the store is decoded once for all patches of the batch. For all
        patches on a regular grid there is xbatcher, https://xbatcher.readthedocs.io.

        Parameters
        ----------
        size : int or (y, x)
            Pixels of a patch.
        batch : int
            Patches in a batch; the last one may hold fewer.
        count : int, optional
            Patches of an epoch; by default as many as have the area of all scenes.
        scenes_per_batch : int, optional
            Scenes that the patches of a batch are of, at most. By default each is of another scene, as far as there
            are so many. Several patches of a scene are read in little more time than one: with 8 scenes for 32 patches
            about twice as many patches come in a second, less well mixed.
        seed : int
            Of all that is random; the same seed gives the same patches in the same order.

        Returns
        -------
        Patches
            To be iterated over, ``for data in ds.clouds.patches():``, while a thread reads the next batch; leaving
            the loop ends it. ``patches.epoch(1)`` gives other patches in another order, ``len(patches)`` is the number
            of batches, and ``patches[i]`` reads one, so that it also serves as a map-style dataset of PyTorch:
            ``DataLoader(patches, batch_size=None, num_workers=2, multiprocessing_context="spawn", collate_fn=...)``.
            Each batch is a Dataset (patch, y, x, band):

            reflectance : (patch, y, x, band), float32
                Top-of-atmosphere reflectance, unitless. In memory it lies band by band, as PyTorch wants it:
                ``torch.from_numpy(data.reflectance.transpose("patch", "band", "y", "x").values)`` copies nothing.
            mask : (patch, y, x), uint8
                0 clear, 1 cloud, 2 cloud_shadow; 255 no label.

            Coordinates on `patch`: ``scene``, the product ID; ``scene_index``, its position in the Dataset;
            ``y_start`` and ``x_start``, the first row and column of the patch in the scene.

        Raises
        ------
        QueryError
            If there is no scene, the scenes are smaller than `size`, or a number is out of its range.
        """
        return training.patches(self._as_opened(*PATCHED), size, batch, count, scenes_per_batch, seed)

    def patches_at(self, positions: ArrayLike, size: int | tuple[int, int] = 256) -> xr.Dataset:
        """Patches at places of your own choice, as one batch; read at once.

        Parameters
        ----------
        positions : (patch, 3), int
            Position of the scene in this Dataset, first row, first column.
        size : int or (y, x)
            Pixels of a patch.

        Returns
        -------
        Dataset (patch, y, x, band)
            See `patches`; in the order of `positions`.

        Raises
        ------
        QueryError
            If a patch does not lie in its scene.
        """
        return training.patches_at(self._as_opened(*PATCHED), positions, size)

    def rgb(self, *, gain: float = 1.2, gamma: float = 1.8) -> xr.DataArray:
        """True-colour composite of B04, B03, B02 for ``.plot.imshow``.

        Parameters
        ----------
        gain : float
            Factor on reflectance before it is cut off at 1.
        gamma : float
            Brightens dark ground (above 1) without washing out clouds.

        Returns
        -------
        DataArray (scene, y, x, rgb), float32
            0 to 1, unitless. Lazy; of a catalogue as it was opened or selected here, only the three bands are read.
        """
        return report.rgb(self._part("reflectance")["reflectance"], gain=gain, gamma=gamma)

    def gallery(self, *, columns: int = 4, gain: float = 1.2, gamma: float = 1.8, most: int = 16) -> "Figure":
        """Draw scenes in true colour with the outlines of their masks; needs ``s2cmc[plot]``.

        Parameters
        ----------
        columns : int
            Pictures in a row.
        gain, gamma : float
            See `rgb`.
        most : int
            Scenes to draw at most, from the first.

        Returns
        -------
        matplotlib.figure.Figure
            For ``figure.savefig("gallery.png")``; a notebook shows it.
        """
        return report.gallery(
            self._part("scene", "reflectance", "mask"), columns=columns, gain=gain, gamma=gamma, most=most
        )
