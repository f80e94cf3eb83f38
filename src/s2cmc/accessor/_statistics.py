"""Methods of ``ds.clouds`` on statistics; each forwards to a package."""

from collections.abc import Sequence

import xarray as xr

from s2cmc import report, statistics
from s2cmc.accessor._base import COUNTED, AccessorBase
from s2cmc.query import By
from s2cmc.schema import TAG_NAMES
from s2cmc.statistics import Within
from s2cmc.storage import Location


class StatisticsAccessor(AccessorBase):
    """The catalogue's own tables, and statistics of its bands."""

    def prevalence(self, by: By = None) -> xr.Dataset:
        """Count the share of each class among the labelled pixels of the masks; lazy.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            How to divide the scenes into strata: a tag (``"snow_ice"``), a tag group (``"surface_type"``), all
            ``"tags"``, ``"split"``, ``"season"`` (local), ``"latitude_band"``, ``"scene"``, any coordinate of the
            scenes with text, whole numbers or booleans (``"difficulty"``), or a DataArray (scene,) of labels. Several
            are listed one after the other; a tuple in the list crosses its criteria, and has a stratum for each
            combination that a scene has: ``[("surface_type", "cloud_type")]``.

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

            The first stratum is ``all``; coordinate ``by`` names the criterion. Where ``shadows_marked`` is false,
            clear may hide shadow.

        Raises
        ------
        QueryError
            If `by` does not exist.

        Examples
        --------
        >>> table = ds.clouds.prevalence(by="snow_ice")
        >>> table.stratum.values.tolist()
        ['all', 'snow_ice', 'not snow_ice']
        >>> table.percent.sel(mask_class="cloud").values.round(1).tolist()
        [37.6, 28.0, 39.0]
        >>> ds.clouds.prevalence(by=[("snow_ice", "season")]).stratum.values[1:3].tolist()
        ['snow_ice × season=autumn', 'not snow_ice × season=winter']
        """
        part = self._part("scene", "mask", "y", "x", "percentages_agree", *statistics.PUBLISHED)
        return statistics.prevalence(part, self._along_scenes(by))

    def tag_frequencies(self) -> xr.Dataset:
        """Count the scenes with each tag (tag,): `scenes`, int64, `percent` of all scenes, coordinate `tag_group`.

        Examples
        --------
        >>> ds.clouds.tag_frequencies().scenes.sel(tag="cumulus").item()
        3
        """
        return statistics.tag_frequencies(self._part("scene", *TAG_NAMES))

    def difficulty(self) -> xr.Dataset:
        """Count the scenes of each difficulty 1 to 5 (difficulty,): `scenes`, int64, and `percent` of all scenes.

        Examples
        --------
        >>> ds.clouds.difficulty().scenes.values.tolist()
        [2, 1, 1, 2, 2]
        """
        return statistics.difficulty_counts(self._part("scene", "difficulty"))

    def tag_cooccurrence(self) -> xr.DataArray:
        """Count the scenes with both of two tags (tag, other_tag), int64; on the diagonal those with the tag.

        Examples
        --------
        >>> ds.clouds.tag_cooccurrence().sel(tag="cumulus", other_tag="thick").item()
        3
        """
        return statistics.tag_cooccurrence(self._part("scene", *TAG_NAMES))

    def statistics_page(self, by: By = report.DEFAULT_BY) -> str:
        """Make one self-contained HTML page of these tables, their charts and the agreement of the annotators.

        Needs ``s2cmc[plot]``; reads the masks.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            Strata of the class prevalence; see `prevalence`.

        Returns
        -------
        str
            For ``Path("statistics.html").write_text(...)``.

        Examples
        --------
        >>> page = ds.clouds.statistics_page(by="dataset")
        >>> page.splitlines()[0]
        '<!DOCTYPE html>'
        """
        part = self._part(*COUNTED, *TAG_NAMES, "percentages_agree", "difficulty")
        return report.statistics_page(part, report.gather_statistics(part, self._along_scenes(by)))

    def band_histograms(self, cache: Location | None = None) -> xr.DataArray:
        """Count the pixels with each digital number (DN), by scene, class of `mask`, and band.

        Every later statistic needs no other pass over the pixels: histograms of scenes, classes or DN add up.

        Parameters
        ----------
        cache : str or path, optional
            Zarr store to keep the histograms in; made if it is absent or unfinished. Make it of the whole catalogue, so
            that it has the scenes of every part. Later changes of reflectance or masks are not noticed.

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
            When computed: if a reflectance is no whole DN.

        Examples
        --------
        >>> histograms = ds.isel(scene=[0]).clouds.band_histograms()
        >>> int(histograms.sel(band="B02", mask_class="cloud").sum())
        6246
        """
        part = self._part("scene", "y", "x", "band", "reflectance", "mask")
        histograms = statistics.band_histograms(part)
        kept = histograms if cache is None else statistics.cached_histograms(histograms, cache, part)
        return self._as_given(kept)

    def band_statistics(
        self,
        by: By = None,
        *,
        within: Within | None = None,
        percentiles: Sequence[float] = (5, 25, 50, 75, 95),
        histograms: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Compute exact statistics of the reflectance of each band from histograms; lazy.

        Parameters
        ----------
        by : str, DataArray or sequence of these, optional
            See `prevalence`.
        within : {"clear", "cloud", "cloud_shadow"}, optional
            Use the pixels of one class only; by default all pixels, labelled or not.
        percentiles : sequence of float
            0 to 100.
        histograms : DataArray, optional
            Result of `band_histograms` for these scenes, e.g. from its cache; by default they are counted again.

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
            If `by`, a class or a percentile does not exist.

        Examples
        --------
        >>> table = ds.clouds.band_statistics(within="cloud")
        >>> table["mean"].sel(stratum="all", band=["B02", "B11"]).values.round(2).tolist()
        [0.47, 0.28]
        """
        part = self._part("scene", "y", "x", "band", "reflectance", "mask")
        return statistics.band_statistics(
            part, self._along_scenes(histograms), self._along_scenes(by), within, percentiles
        )

    def spectral_index(self, name: str) -> xr.DataArray:
        """Compute the normalised difference of two bands; lazy, and only these two bands are read.

        Parameters
        ----------
        name : {"NDSI", "NDVI", "NDWI", "NDMI", "NBR"}
            Snow (B03, B11), vegetation (B08, B04), water (B03, B08), moisture (B8A, B11), burn (B8A, B12); formula and
            source are in the attributes.

        Returns
        -------
        DataArray (scene, y, x), float32
            -1 to 1, unitless; NaN where both bands are 0.

        Raises
        ------
        QueryError
            If there is no index of that name.

        Examples
        --------
        >>> ndsi = ds.clouds.spectral_index("NDSI")
        >>> ndsi.shape
        (8, 128, 128)
        >>> ndsi.attrs["source"]
        'Hall et al. 1995, doi 10.1016/0034-4257(95)00137-P'
        """
        return self._as_given(statistics.spectral_index(self._part("reflectance")["reflectance"], name))
