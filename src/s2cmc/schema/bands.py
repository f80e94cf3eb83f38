"""The bands of Sentinel-2's MultiSpectral Instrument: names, wavelengths, native resolutions.

Sources: ESA's table of the bands of both satellites, from their spectral response functions
(COPE-GSEG-EOPG-TN-15-0007), for the wavelengths; STAC's `eo` extension for the common names.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Band:
    """A spectral band of Sentinel-2's MultiSpectral Instrument.

    Attributes
    ----------
    name, common_name : str
        ESA's name (``B8A``) and STAC's common name (``nir08``).
    wavelength, bandwidth : float
        Central wavelength and width at half maximum of Sentinel-2A, nm.
    resolution : int
        Native pixel size, m. The catalogue holds every band at 20 m.
    """

    name: str
    common_name: str
    wavelength: float
    bandwidth: float
    resolution: int


BANDS = (
    Band("B01", "coastal", 442.7, 21.0, 60),
    Band("B02", "blue", 492.4, 66.0, 10),
    Band("B03", "green", 559.8, 36.0, 10),
    Band("B04", "red", 664.6, 31.0, 10),
    Band("B05", "rededge071", 704.1, 15.0, 20),
    Band("B06", "rededge075", 740.5, 15.0, 20),
    Band("B07", "rededge078", 782.8, 20.0, 20),
    Band("B08", "nir", 832.8, 106.0, 10),
    Band("B8A", "nir08", 864.7, 21.0, 20),
    Band("B09", "nir09", 945.1, 20.0, 60),
    Band("B10", "cirrus", 1373.5, 31.0, 60),
    Band("B11", "swir16", 1613.7, 91.0, 20),
    Band("B12", "swir22", 2202.4, 175.0, 20),
)
BAND_NAMES = tuple(band.name for band in BANDS)

_SENTINEL_2B = {
    "B01": (442.3, 21.0),
    "B02": (492.1, 66.0),
    "B03": (559.0, 36.0),
    "B04": (665.0, 31.0),
    "B05": (703.8, 16.0),
    "B06": (739.1, 15.0),
    "B07": (779.7, 20.0),
    "B08": (833.0, 106.0),
    "B8A": (864.0, 22.0),
    "B09": (943.2, 21.0),
    "B10": (1376.9, 30.0),
    "B11": (1610.4, 94.0),
    "B12": (2185.7, 185.0),
}


def bands_of(platform: str) -> tuple[Band, ...]:
    """Return the bands with the wavelengths of a satellite: of ``Sentinel-2B``, or of Sentinel-2A for any other."""
    if platform != "Sentinel-2B":
        return BANDS
    return tuple(
        replace(band, wavelength=_SENTINEL_2B[band.name][0], bandwidth=_SENTINEL_2B[band.name][1]) for band in BANDS
    )


RGB_NAMES = ("red", "green", "blue")
