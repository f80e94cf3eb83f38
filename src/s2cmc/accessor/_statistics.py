"""Methods of ``ds.clouds`` on statistics; each forwards to a package."""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from s2cmc import report, statistics
from s2cmc.accessor._base import COUNTED, AccessorBase
from s2cmc.query import By
from s2cmc.schema import TAG_NAMES
from s2cmc.statistics import Within


class StatisticsAccessor(AccessorBase):
    """The catalogue's own tables, and statistics of its bands."""

    def prevalence(self, by: By = None) -> xr.Dataset:
        """Share of each class among the labelled pixels, counted in the masks; lazy.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            Questions to ask by, one after the other and not crossed: a tag (``"snow_ice"``), a tag group
            (``"surface_type"``), ``"split"``, ``"season"`` (local), ``"latitude_band"``, ``"scene"``, any coordinate
            of the scenes with text, whole numbers or booleans (``"difficulty"``), or a DataArray (scene,) of labels.

        Returns
        -------
        Dataset (stratum, mask_class)
            scenes : (stratum,), int64
            pixels : int64
                Labelled pixels of the class.
            percent : float64
                Share of the labelled pixels, NaN where there are none.
            published_percent : float64
                Mean of the table's percentages over the scenes.
            difference : float64
                `percent` minus `published_percent`, percentage points.
            differing_scenes : (stratum,), int64
                Scenes whose percentages in the table are not those of the mask.

            The first stratum is ``all``; coordinate ``by`` names the question. Where ``shadows_marked`` is false, clear
            may hide shadow.

        Raises
        ------
        QueryError
            If there is no such question.
        """
        return statistics.prevalence(self._part("scene", "mask", "percentages_agree", *statistics.PUBLISHED), by)

    def tag_frequencies(self) -> xr.Dataset:
        """Scenes with each tag (tag,): `scenes`, int64, and `percent` of all scenes; coordinate ``tag_group``."""
        return statistics.tag_frequencies(self._part("scene", *TAG_NAMES))

    def difficulty(self) -> xr.Dataset:
        """Scenes of each difficulty 1 to 5 (difficulty,): `scenes`, int64, and `percent` of all scenes."""
        return statistics.difficulty_counts(self._part("scene", "difficulty"))

    def tag_cooccurrence(self) -> xr.DataArray:
        """Scenes with both of two tags (tag, other_tag), int64; on the diagonal those with the tag."""
        return statistics.tag_cooccurrence(self._part("scene", *TAG_NAMES))

    def statistics_page(self, by: By = report.DEFAULT_BY) -> str:
        """All of these tables with charts, and the agreement of the annotators, as one self-contained HTML page.

        Needs ``s2cmc[plot]``; reads the masks.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            Strata of the class prevalence; see `prevalence`.

        Returns
        -------
        str
            For ``Path("statistics.html").write_text(...)``.
        """
        part = self._part(*COUNTED, *TAG_NAMES, "percentages_agree", "difficulty")
        return report.statistics_page(part, report.gather_statistics(part, by))

    def band_histograms(self, cache: str | Path | None = None) -> xr.DataArray:
        """Pixels with each digital number, by scene, class of `mask`, and band.

        One pass over the pixels answers every later question on them: histograms of scenes, classes or DN add up.

        Parameters
        ----------
        cache : str or Path, optional
            Zarr store to keep them in; made if it is not there, or left unfinished. Make it of the whole catalogue, so
            that every part of it finds its scenes. That reflectance or masks were changed since is not noticed.

        Returns
        -------
        DataArray (scene, mask_class, band, dn), uint32
            DN is reflectance x 10,000, 0 to 65,535; `mask_class` has ``unlabelled`` too. Lazy, 13.6 MB a scene; NaN
            reflectance is not counted.

        Raises
        ------
        StoreError
            If `cache` holds anything else.
        SceneError
            When it is computed: if a reflectance is no whole DN.
        """
        part = self._part("scene", "band", "reflectance", "mask")
        found = statistics.band_histograms(part)
        return found if cache is None else statistics.cached_histograms(found, cache, part)

    def band_statistics(
        self,
        by: By = None,
        *,
        within: Within | None = None,
        percentiles: Sequence[float] = (5, 25, 50, 75, 95),
        histograms: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Statistics of the reflectance of each band, exact, from histograms; lazy.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            See `prevalence`.
        within : {"clear", "cloud", "cloud_shadow"}, optional
            Look at the pixels of one class only; else at all of them, labelled or not.
        percentiles : sequence of float
            0 to 100.
        histograms : DataArray, optional
            What `band_histograms` gave for these scenes, e.g. from its cache; else they are counted anew.

        Returns
        -------
        Dataset (stratum, band)
            count : int64
                Pixels, those without data (DN 0) and saturated ones included.
            mean, std, min, max : float64
                TOA reflectance, unitless; the standard deviation is that of the population (``ddof=0``).
            percentiles : (stratum, band, percentile), float64
                Interpolated linearly, as `numpy.percentile` does.

            NaN where there is no pixel.

        Raises
        ------
        QueryError
            If a question, class or percentile does not exist.
        """
        part = self._part("scene", "band", "reflectance", "mask")
        return statistics.band_statistics(part, histograms, by, within, percentiles)

    def spectral_index(self, name: str) -> xr.DataArray:
        """Normalised difference of two bands; lazy, and only these two bands are read.

        Parameters
        ----------
        name : {"NDSI", "NDVI", "NDWI", "NDMI", "NBR"}
            Snow (B03, B11), vegetation (B08, B04), water (B03, B08), moisture (B8A, B11), burn (B8A, B12); formula and
            source stand in the attributes.

        Returns
        -------
        DataArray (scene, y, x), float32
            -1 to 1, unitless; NaN where both bands are 0.

        Raises
        ------
        QueryError
            If there is no index of that name.
        """
        return statistics.spectral_index(self._part("reflectance")["reflectance"], name)
