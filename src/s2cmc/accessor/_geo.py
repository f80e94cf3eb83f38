"""Methods of ``ds.clouds`` on place; each forwards to a package."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from s2cmc import geo
from s2cmc.accessor._base import AccessorBase
from s2cmc.geo import Geometry, GeoreferenceCheck, L1CWindow, SceneKey
from s2cmc.storage import Location

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

PLACED = ("scene", "epsg", "x_origin", "y_origin", "y", "x")


class GeoAccessor(AccessorBase):
    """Scenes on their own grids, on Earth, and in their original products."""

    def scene(self, key: SceneKey) -> xr.Dataset:
        """Return one scene with true UTM coordinates and CRS, for rioxarray; lazy.

        Parameters
        ----------
        key : str, int or (tile, date)
            Product ID, or a prefix that only one has; ``"T18SVG"``, ``"T18SVG 2018-01-12"`` or
            ``("T18SVG", "2018-01-12")``, as coarse as it is clear; or position, from the end if negative.

        Returns
        -------
        Dataset
            reflectance : (band, y, x), float32
                Top-of-atmosphere reflectance, unitless; in this order rioxarray takes it.
            mask, alt_mask : (y, x), uint8
                0 clear, 1 cloud, 2 cloud_shadow; 255 no label.
            valid : (y, x), uint8
                1 where every band has data (finite, DN not 0), else 0.

            `x` and `y` are the centres of the pixels, UTM, m, in the order of the Dataset: `y` from north to south as a
            catalogue is opened. ``spatial_ref`` is the CF grid mapping, so that ``.rio.crs``, ``.rio.transform()``,
            ``.rio.clip`` and ``.rio.reproject`` work, and ``.rio.to_raster`` on each variable. Coordinates of the scene
            are scalar coordinates.

        Raises
        ------
        QueryError
            If no scene is named so, or several are; the message names them.
        CatalogueError
            If the release had no outline for the scene: then its place is not known. If `x` or `y` of the Dataset are
            not evenly spaced, or have values that no catalogue has.

        Examples
        --------
        >>> scene = ds.clouds.scene("T03SXU")
        >>> scene.rio.crs.to_epsg()
        32603
        >>> scene.rio.resolution()
        (20.0, -20.0)
        """
        return geo.scene(self._part(*PLACED), key)

    def footprints(self, *, geometry: Geometry = "polygon") -> "GeoDataFrame":
        """Return the footprints of the scenes as a table, for maps and joins; needs ``s2cmc[geo]``. No pixel is read.

        Parameters
        ----------
        geometry : {"polygon", "point"}
            Footprint of a scene, or its centre: on a map of the world a footprint of 20 km is too small to be seen.

        Returns
        -------
        GeoDataFrame
            One row for each scene, by product ID: every coordinate of the scenes as a column, and its footprint on
            WGS 84 (EPSG:4326), which is that of the array, not of the wider published outline. It is split where the
            antimeridian cuts it, and None where the place of a scene is unknown. Times are text of RFC 3339, as JSON
            needs them; ``pandas.to_datetime(table.time)`` converts them.

        Raises
        ------
        ArgumentError
            If there is no such geometry.

        Examples
        --------
        >>> footprints = ds.clouds.footprints()
        >>> len(footprints), footprints.crs.to_epsg()
        (8, 4326)
        >>> ds.clouds.footprints(geometry="point").explore("cloud_percent")  # doctest: +SKIP
        >>> footprints.time.min()
        '2018-03-06T21:05:21Z'
        """
        return geo.with_times_as_text(geo.footprints(self._part(*PLACED), geometry))

    def mosaic(
        self, *, crs: str | int | None = None, resolution: float | None = None, resampling: str = "nearest"
    ) -> xr.Dataset:
        """Put neighbouring scenes, selected before, on one grid; lazy. Needs ``s2cmc[geo]``.

        Parameters
        ----------
        crs : str or int, optional
            Of the grid, e.g. ``3857``; by default the UTM zone of the scenes, where they share one.
        resolution : float, optional
            Width of a pixel in units of `crs`; by default about 20 m.
        resampling : str
            Of `reflectance`, as rasterio names it: ``nearest``, ``bilinear``, ``cubic``, ``average``, ... Masks are
            always those of the nearest pixel. In the scenes' own zone and at 20 m, nearest gives their very pixels.

        Returns
        -------
        Dataset
            reflectance : (band, y, x), float32
                NaN where no scene has data.
            mask, alt_mask, valid : (y, x), uint8
                As `scene` gives them; 255, and 0 for `valid`, where no scene has data.
            source : (y, x), int16
                Position of the scene that the pixel is from, -1 where none has data. Earlier scenes are on top.

        Raises
        ------
        QueryError
            If there is no scene, no such CRS or resampling, if the scenes are in several zones and `crs` is not
            given, or if they are so far apart that the grid has more than 1e10 pixels.
        CatalogueError
            If the place of a scene is not known.

        Examples
        --------
        >>> ds.isel(scene=[0]).clouds.mosaic(crs=3857).rio.crs.to_epsg()
        3857
        """
        return geo.mosaic(self._part(*PLACED, "reflectance"), crs=crs, resolution=resolution, resampling=resampling)

    def l1c_window(self, key: SceneKey) -> L1CWindow:
        """Locate a scene in its original Level-1C product, and the product in public object stores. No pixel is read.

        Parameters
        ----------
        key : str, int or (tile, date)
            See `scene`.

        Returns
        -------
        L1CWindow
            Its windows in the bands of 10, 20 and 60 m (``.window("B11")``, for rasterio and for slicing), the tile's
            corner, names of files, and the product's prefixes in public object stores. It prints as a table.

        Raises
        ------
        QueryError
            If no scene is named so, or several are.
        SceneError
            If the place of the scene is not known, or not on the grid of its tile.

        Examples
        --------
        >>> ds.clouds.l1c_window("T03SXU").window("B11")
        PixelWindow(resolution=20, row=4095.0, column=3587.0, height=128.0, width=128.0)
        """
        return geo.l1c_window(self._part(*PLACED), key)

    def read_l1c(
        self, key: SceneKey, source: Location, bands: Sequence[str] | None = None, *, dn: bool = False
    ) -> xr.DataTree:
        """Read a scene from its original product, every band at its native resolution; lazy.

        Parameters
        ----------
        key : str, int or (tile, date)
            See `scene`.
        source : str or path
            The product's SAFE folder, a zip of it, a folder of SAFE folders, or any folder that holds its JP2 files.
            Only the scene's window of a file is read.
        bands : sequence of str, optional
            All 13 by default.
        dn : bool
            Digital numbers, uint16, instead of reflectance.

        Returns
        -------
        DataTree
            Groups ``r10m``, ``r20m``, ``r60m``; in each its bands (y, x), float32 TOA reflectance, unitless, with pixel
            centres and CRS for rioxarray: ``tree["r10m/B04"]``.

        Raises
        ------
        SceneError
            If files are missing, of another product, or not on the grid of its tile; the message lists all.
        QueryError
            If there is no such scene or band.

        Examples
        --------
        >>> tree = ds.clouds.read_l1c("T03SXU", "products", bands=["B04"])  # doctest: +SKIP
        >>> tree["r10m/B04"].shape  # doctest: +SKIP
        (256, 256)
        """
        return geo.read_l1c(self._part(*PLACED), key, source, bands, dn=dn)

    def check_georeference(self, key: SceneKey, source: Location, *, band: str = "B11") -> GeoreferenceCheck:
        """Compare a scene with its original pixel by pixel, in every placement up to 65 pixels around its own.

        Parameters
        ----------
        key : str, int or (tile, date)
            See `scene`.
        source : str or path
            See `read_l1c`; only this band is needed.
        band : str
            One of 20 m: others were resampled for the catalogue.

        Returns
        -------
        GeoreferenceCheck
            ``passes``, share of equal pixels in each placement, the best and the second; it prints as a table.

        Raises
        ------
        QueryError
            If there is no such scene or band, or it is not of 20 m.
        SceneError
            If the scene has no georeference, or the file is missing or not of its tile.

        Examples
        --------
        >>> ds.clouds.check_georeference("T03SXU", "products").passes  # doctest: +SKIP
        True
        """
        return geo.check_georeference(self._part(*PLACED, "reflectance", "band", "outline_margin"), key, source, band)
