"""True colour of one scene over a network of 30 ms: requests, round trips, bytes and seconds, ours and the peers'."""

from collections.abc import Callable
from typing import Any

import data
import formats
import numpy as np
import pytest
import rasterio
import table
import xarray as xr
import zarrpeers
from helpers.file_server import FileServer
from helpers.http_proxy import Proxy
from helpers.request_log import depth
from ours import Ours
from table import OURS, fact, timed

import s2cmc

ROUND_TRIP = 0.03
RATE = 100e6
SCENE = 9


@pytest.fixture(scope="module")
def ways() -> Any:
    """What reads B02 to B04 of a scene (y, x, band) over the network, each opened before; and the proxy."""
    cog = formats.geotiffs(data.SCENES)[SCENE].relative_to(data.bench_data())
    server = FileServer(data.bench_data())
    with Proxy(server.url, rtt=ROUND_TRIP, rate=RATE) as proxy:
        url = f"{proxy.url}/{data.scenes_store().relative_to(data.bench_data())}"
        ours = s2cmc.open_catalogue(url)
        plain = xr.open_zarr(url, chunks={})
        tensor = zarrpeers.open_tensorstore(f"{url}/reflectance/")

        def geotiff() -> np.ndarray:
            options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": False, "CPL_VSIL_CURL_NON_CACHED": "/"}
            with rasterio.Env(**options), rasterio.open(f"/vsicurl/{proxy.url}/{cog}") as file:
                return np.moveaxis(file.read([2, 3, 4]) / np.float32(10_000), 0, -1)

        yield (
            proxy,
            {
                OURS: lambda: ours.reflectance.sel(band=slice("B02", "B04")).isel(scene=SCENE).to_numpy(),
                "open_zarr": lambda: plain.reflectance[SCENE, :, :, 1:4].astype(np.float32).to_numpy(),
                "tensorstore": lambda: tensor[SCENE, :, :, 1:4].read().result() / np.float32(10_000),
                "COG": geotiff,
            },
        )
    server.close()


def test_true_colour_over_a_network(ways: tuple[Proxy, dict[str, Callable[[], Any]]], rows: list[table.Row]) -> None:
    """Requests are those of one reading; seconds are medians."""
    proxy, asks = ways
    expected = Ours(data.SCENES).rgb(SCENE)
    requests, trips, shares = {}, {}, {}
    shard = (data.scenes_store() / f"reflectance/c/{SCENE}/0/0/0").stat().st_size
    for name, ask in asks.items():
        proxy.log.clear()
        np.testing.assert_array_equal(ask(), expected)
        requests[name], trips[name] = len(proxy.log), depth(proxy.log)
        shares[name] = sum(request.nbytes for request in proxy.log) / shard
    rows.append(timed("RGB of one scene over 30 ms", [(n, lambda _, ask=a: ask()) for n, a in asks.items()], {}))
    for work, values, most in (
        ("  round trips", trips, 3),
        ("  requests", requests, None),
        # Bands are not of one size: the three of 10 m have more detail, so that 3/13 of the scene do not hold them.
        ("  bytes / bytes of the scene", shares, 3 / 13 + 0.05),
    ):
        rows.append(fact(work, "", values.pop(OURS), most, peers=values))
