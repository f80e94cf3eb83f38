"""The accessor ``ds.clouds``. Every method checks that the Dataset has the needed variables and forwards to a package.

Methods of statistics, evaluation and place are inherited from modules beside this one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr
from numpy.typing import ArrayLike

from s2cmc import query, report, statistics, training
from s2cmc.accessor._description import describe
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
    """Methods on a catalogue opened by `s2cmc.open_catalogue`, or on whatever xarray makes of one.

    Each returns an ordinary xarray object, which is lazy where it needs pixels. ``ds.clouds`` shows what the catalogue
    holds, and lists the methods.

    Scenes may be along another dimension, as ``ds.swap_dims(scene="time")`` puts them: what is asked of each scene is
    answered along this dimension. A single scene, ``ds.isel(scene=2)``, is a catalogue of one: answers are those to
    ``ds.isel(scene=[2])``, and what is asked of each scene is answered without dimension ``scene``. Only `select`,
    `masks` and `confusion` keep the dimension, because they may leave the scene out. Scalar coordinates, as `xr.concat`
    makes them of what is equal in all parts, are those of every scene. Where product IDs, names or dimensions are lost,
    the error says how to keep them.

    Examples
    --------
    >>> import s2cmc.tutorial
    >>> ds = s2cmc.tutorial.open_catalogue()
    >>> ds.clouds.select("cumulus and not snow_ice").sizes["scene"]
    2
    """

    def __repr__(self) -> str:
        return describe(self._obj, type(self)).to_text()

    def _repr_html_(self) -> str:
        return describe(self._obj, type(self)).to_html()

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
        """Select the scenes that meet every condition. No pixel is read.

        Parameters
        ----------
        expression : str, optional
            Boolean algebra over the scene coordinates as in `pandas.DataFrame.query`, e.g.
            ``"snow_ice and (thin or cirrus)"``, ``"cloud_percent > 50 & ~cumulus"``, ``"time >= '2018-06-01'"``;
            published names in backticks. ``season``, ``latitude_band`` and ``split`` have the words of `prevalence`:
            ``"season == 'winter'"``. A tile may have its T: ``"mgrs_tile == 'T03SXU'"``.
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
            crosses the antimeridian. An error where no scene has an outline.
        intersects : geometry, optional
            Scenes whose footprint shares a point with it: of shapely or GeoJSON, in degrees, longitude first; or a
            GeoSeries or GeoDataFrame, whose edges are straight in its CRS.
        bands : sequence of str, optional
            ``["B04", "B03", "B02"]``: these bands of `reflectance` in this order, as ``.sel(band=[...])`` gives them.

        Returns
        -------
        Dataset
            With the same variables and fewer scenes, possibly none, and the requested bands.

        Raises
        ------
        QueryError
            If a name or value does not exist; the message offers the nearest ones.

        Examples
        --------
        >>> ds.clouds.select("snow_ice and (thick or cirrus)", shadows_marked=True).sizes["scene"]
        1
        >>> ds.clouds.select(split="test", bands=["B04", "B03", "B02"]).reflectance.shape
        (2, 128, 128, 3)
        """
        return self._as_given(
            query.select(
                self._part("scene", *(PLACED if intersects is not None else ()), *(() if bands is None else ("band",))),
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
            ),
            chosen=True,
        )

    @property
    def tags(self) -> xr.DataArray:
        """Array of the 24 tags (scene, tag), bool, with coordinate ``tag_group`` on ``tag``.

        Examples
        --------
        >>> ds.clouds.tags.sel(tag="cumulus").sum().item()
        3
        """
        return self._as_given(query.tags(self._part("scene", *TAG_NAMES)))

    @property
    def tag_groups(self) -> dict[str, list[str]]:
        """Names of the tags by group: surface type, cloud type, cloud thickness, height and extent.

        Examples
        --------
        >>> ds.clouds.tag_groups["cloud_thickness"]
        ['thin', 'thick']
        """
        return query.tag_groups()

    @property
    def groups(self) -> xr.DataArray:
        """Dependence group of each scene (scene,), int32, for group-wise splits and resampling.

        Scenes of one tile, or of one date and relative orbit, are not independent: keep them together, e.g. with
        scikit-learn's ``GroupKFold``.

        Examples
        --------
        >>> ds.clouds.groups.values.tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
        """
        return self._as_given(self._part("group")["group"])

    def random_split(self, fractions: Mapping[str, float], *, seed: int = 0) -> xr.DataArray:
        """Split the scenes at random into named parts, with all scenes of a dependence group in one part.

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

        Examples
        --------
        >>> parts = ds.clouds.random_split({"train": 0.75, "valid": 0.25})
        >>> ds.isel(scene=parts == "train").sizes["scene"]
        6
        """
        return self._as_given(query.random_split(self._part("scene", "group"), fractions, seed))

    def class_counts(self) -> xr.DataArray:
        """Count the pixels of each class in each scene (scene, mask_class), int64; lazy.

        Examples
        --------
        >>> ds.clouds.class_counts().sum("scene").values.tolist()
        [78020, 49284, 3768]
        """
        return self._as_given(statistics.class_counts(self._part("mask", "y", "x")["mask"]))

    def class_fractions(self) -> xr.DataArray:
        """Fraction of each class among the labelled pixels of each scene (scene, mask_class), float64, 0..1; lazy.

        Examples
        --------
        >>> ds.clouds.class_fractions().isel(scene=0).values.round(3).tolist()
        [0.513, 0.381, 0.106]
        """
        return self._as_given(statistics.class_fractions(self._part("mask", "y", "x")["mask"]))

    def one_hot(self) -> xr.DataArray:
        """`mask` as one plane for each class (scene, y, x, mask_class), bool, all false without a label; lazy.

        Examples
        --------
        >>> ds.clouds.one_hot().shape
        (8, 128, 128, 3)
        """
        return self._as_given(statistics.one_hot(self._part("mask")["mask"]))

    def patches(
        self,
        size: int | tuple[int, int] = 256,
        *,
        batch: int = 32,
        count: int | None = None,
        scenes_per_batch: int | None = None,
        seed: int = 0,
    ) -> Patches:
        """Draw random patches with their labels, shuffled, in batches for training. Each batch is read on request.

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
            Largest number of scenes in a batch. By default each patch is from another scene, if there are enough.
            Several patches of a scene are read in little more time than one: 8 scenes for 32 patches give about twice
            as many patches in a second, less well mixed.
        seed : int
            The same seed gives the same patches in the same order.

        Returns
        -------
        Patches
            Iterate with ``for data in ds.clouds.patches():``, while a thread reads the next batch; leaving the loop
            ends the thread. ``patches.epoch(1)`` gives other patches in another order, ``len(patches)`` is the number
            of batches, and ``patches[i]`` reads one, so that it also serves as a map-style dataset of PyTorch:
            ``DataLoader(patches, batch_size=None, num_workers=2, multiprocessing_context="spawn", collate_fn=...)``.
            Each batch is a Dataset (patch, y, x, band):

            reflectance : (patch, y, x, band), float32
                Top-of-atmosphere reflectance, unitless. Bands are contiguous in memory, as PyTorch needs them:
                ``torch.from_numpy(data.reflectance.transpose("patch", "band", "y", "x").values)`` copies nothing.
            mask : (patch, y, x), uint8
                0 clear, 1 cloud, 2 cloud_shadow; 255 no label.

            Coordinates on `patch`: ``scene``, the product ID; ``scene_index``, its position in the Dataset;
            ``y_start`` and ``x_start``, the first row and column of the patch in the scene.

        Raises
        ------
        QueryError
            If there is no scene, the scenes are smaller than `size`, or a number is out of its range.

        Examples
        --------
        >>> patches = ds.clouds.patches(64, batch=4, count=10)
        >>> len(patches)
        3
        >>> patches[0].reflectance.shape
        (4, 64, 64, 13)
        """
        return training.patches(self._as_opened(*PATCHED), size, batch, count, scenes_per_batch, seed)

    def patches_at(self, positions: ArrayLike, size: int | tuple[int, int] = 256) -> xr.Dataset:
        """Read patches at chosen positions as one batch.

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
            If a patch is not inside its scene.

        Examples
        --------
        >>> ds.clouds.patches_at([[0, 0, 0], [3, 10, 20]], size=32).mask.shape
        (2, 32, 32)
        """
        return training.patches_at(self._as_opened(*PATCHED), positions, size)

    def rgb(self, *, gain: float = 1.2, gamma: float = 1.8) -> xr.DataArray:
        """Make a true-colour composite of B04, B03, B02 for ``.plot.imshow``.

        Parameters
        ----------
        gain : float
            Factor on reflectance before it is cut off at 1.
        gamma : float
            Brightens dark ground (above 1) without washing out clouds.

        Returns
        -------
        DataArray (scene, y, x, rgb), float32
            0 to 1, unitless. Lazy; only the three bands are read from a catalogue as it was opened or selected.

        Examples
        --------
        >>> ds.clouds.rgb().shape
        (8, 128, 128, 3)
        """
        return self._as_given(report.rgb(self._part("reflectance")["reflectance"], gain=gain, gamma=gamma))

    def gallery(self, *, columns: int = 4, gain: float = 1.2, gamma: float = 1.8, most: int = 16) -> "Figure":
        """Draw scenes in true colour with the outlines of their masks; needs ``s2cmc[plot]``.

        Parameters
        ----------
        columns : int
            Pictures in a row.
        gain, gamma : float
            See `rgb`.
        most : int
            Largest number of scenes to draw, from the first.

        Returns
        -------
        matplotlib.figure.Figure
            For ``figure.savefig("gallery.png")``; a notebook shows it.

        Examples
        --------
        >>> figure = ds.clouds.gallery(most=2)
        >>> [panel.get_title().split()[0] for panel in figure.axes]
        ['03SXU', '52KEB']
        """
        return report.gallery(
            self._part("scene", "reflectance", "mask", "y", "x", "band"),
            columns=columns,
            gain=gain,
            gamma=gamma,
            most=most,
        )
