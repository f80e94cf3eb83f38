"""What questions cost over a network of 30 ms and 100 MB/s: ``make bench-remote``.

Scenes are synthetic and as large as real ones. Round trips are the requests that waited for one another.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import pytest
import xarray as xr
from helpers.file_server import FileServer
from helpers.http_proxy import Proxy
from helpers.request_log import depth
from rich.console import Console
from rich.table import Table

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.synthetic.make import make_release

SCENES = 8
ROUND_TRIP = 0.03
RATE = 100e6
THREADS = 8
"""A network is waited for; more threads than cores do so side by side."""

QUESTIONS: dict[str, Callable[[xr.Dataset], object]] = {
    "a tag query": lambda ds: ds.clouds.select("cumulus and not snow_ice", split="train"),
    "fractions of all masks": lambda ds: ds.clouds.class_fractions().compute(),
    "true colour of one scene": lambda ds: ds.clouds.rgb()[3].compute(),
    "three bands of one scene, by list": lambda ds: (
        ds.clouds.select(bands=["B12", "B11", "B04"]).reflectance[3].compute()
    ),
    "one scene": lambda ds: ds.reflectance[3].compute(),
    "one band of all scenes": lambda ds: ds.reflectance.sel(band="B11").compute(),
    "all thumbnails": lambda ds: ds.thumbnail.compute(),
    "all scenes": lambda ds: ds.reflectance.mean(("y", "x")).compute(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store of full-size scenes."""
    made = tmp_path_factory.mktemp("remote")
    make_release(made / "release", scenes=SCENES, size=1022)
    convert(str(made / "release"), str(made / "catalogue.zarr"))
    s2cmc.open_catalogue(f"file://{made}/catalogue.zarr").reflectance[0].compute()  # what is imported on the way
    return made


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Printed at the end."""
    shown = Table(title=f"{SCENES} scenes of 1022 x 1022, {1e3 * ROUND_TRIP:.0f} ms, {RATE / 1e6:.0f} MB/s")
    for name in ("transport", "question", "requests", "round trips", "kB", "of a scene", "seconds"):
        shown.add_column(name, justify="left" if name in ("transport", "question") else "right")
    yield shown
    Console(width=110).print(shown)


@pytest.mark.parametrize("backend", ["obstore", "fsspec", "plain xarray"])
def test_what_questions_cost(folder: Path, table: Table, backend: str) -> None:
    """Each question once, on a store that was just opened."""
    scene = (folder / "catalogue.zarr/reflectance/c/3/0/0/0").stat().st_size
    server = FileServer(folder)
    with Proxy(server.url, rtt=ROUND_TRIP, rate=RATE) as proxy, dask.config.set(num_workers=THREADS):

        def measured[T](question: str, ask: Callable[[], T]) -> T:
            proxy.log.clear()
            began = time.perf_counter()
            found = ask()
            seconds = time.perf_counter() - began
            nbytes = sum(request.nbytes for request in proxy.log)
            numbers = (str(len(proxy.log)), str(depth(proxy.log)), f"{nbytes / 1e3:.0f}", f"{nbytes / scene:.3f}")
            table.add_row(backend, question, *numbers, f"{seconds:.2f}")
            return found

        url = f"{proxy.url}/catalogue.zarr"
        if backend == "plain xarray":
            opened = measured("open, coordinates loaded", lambda: _plainly(url))
            measured("one scene", opened.reflectance[3].compute)
            server.close()
            return
        opened = measured("open, coordinates loaded", lambda: s2cmc.open_catalogue(url, backend=backend))
        for question, ask in QUESTIONS.items():
            measured(question, lambda ask=ask: ask(opened))
        assert math.isclose(opened.mask[0].mean(), s2cmc.open_catalogue(folder / "catalogue.zarr").mask[0].mean())
    table.add_section()
    server.close()


def _plainly(url: str) -> xr.Dataset:
    """As without s2cmc: every coordinate is an object of its own."""
    opened = xr.open_zarr(url, chunks={})
    return opened.assign_coords({name: coordinate.load() for name, coordinate in opened.coords.items()})
