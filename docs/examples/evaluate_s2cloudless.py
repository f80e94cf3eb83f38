"""Worked example: a published cloud detector over a store, evaluated by tag.

s2cloudless (github.com/sentinel-hub/sentinel2-cloud-detector) is a gradient-boosted classifier of single pixels in ten
bands of Level-1C reflectance; its model comes with the package. ::

    pip install "s2cmc[ml,plot]"
    python docs/examples/evaluate_s2cloudless.py demo/catalogue.zarr s2cloudless.html
"""

from pathlib import Path

import numpy as np
import typer
import xarray as xr

import s2cmc

THRESHOLD = 0.4
"""Probability from which on s2cloudless calls a pixel cloud by default."""


def cloud_probability(reflectance: xr.DataArray) -> xr.DataArray:
    """Probability of cloud by s2cloudless, lazily, one scene in a task.

    Parameters
    ----------
    reflectance : DataArray (scene, y, x, band), float32
        All 13 bands, TOA reflectance, unitless.

    Returns
    -------
    DataArray (scene, y, x), float32
        0 to 1, of each pixel for itself, before the averaging and dilation that s2cloudless offers for masks.

    Raises
    ------
    CatalogueError
        If s2cloudless is not installed.
    """
    try:
        import s2cloudless  # noqa: F401
    except (ModuleNotFoundError, OSError) as error:  # OSError: libgomp, which LightGBM needs, is not there
        raise s2cmc.CatalogueError(
            f"the example needs s2cloudless ({error}); install it with: pip install 's2cmc[ml]', and on Debian libgomp1"
        ) from error
    return xr.apply_ufunc(
        _cloud_probability,
        reflectance.chunk(scene=1, y=-1, x=-1, band=-1),
        input_core_dims=[["y", "x", "band"]],
        output_core_dims=[["y", "x"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        keep_attrs=False,
    ).rename("cloud_probability")


def _cloud_probability(reflectance: np.ndarray) -> np.ndarray:
    from s2cloudless import S2PixelCloudDetector

    detector = S2PixelCloudDetector(all_bands=True)
    probability: np.ndarray = detector.get_cloud_probability_maps(reflectance, num_threads=1)  # dask has the cores
    return probability


def main(store: str, html_file: Path) -> None:
    """Evaluate s2cloudless on a store by surface and cloud type, and write the page."""
    if not html_file.parent.is_dir():
        raise typer.BadParameter(f"{html_file} cannot be written: there is no folder {html_file.parent}")
    try:
        ds = s2cmc.open_catalogue(store)
        counts = ds.clouds.confusion(cloud_probability(ds.reflectance), threshold=THRESHOLD).compute()
        by = ["surface_type", "cloud_type"]
        typer.echo(ds.clouds.evaluate(counts, by).evaluation)
        html_file.write_text(ds.clouds.evaluation_page(counts, by), encoding="utf-8")
    except s2cmc.CatalogueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
