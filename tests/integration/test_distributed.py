"""Reductions on a cluster of processes give what they give here, also when workers die."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import xarray as xr
from distributed import Client
from helpers.clusters import on, two_workers, watching

pytestmark = pytest.mark.slow

REDUCTIONS: dict[str, Callable[[xr.Dataset], Any]] = {
    "class fractions": lambda ds: ds.clouds.class_fractions(),
    "prevalence": lambda ds: ds.clouds.prevalence(by=["surface_type", "split"]),
    "band statistics": lambda ds: ds.clouds.band_statistics(by="split", within="cloud"),
    "confusion": lambda ds: ds.clouds.confusion(ds.reflectance.sel(band="B02") > 0.2, boundary_buffer=1),
    "evaluation": lambda ds: ds.clouds.evaluate(ds.reflectance.sel(band="B02") > 0.2, by="difficulty"),
    "agreement": lambda ds: ds.clouds.agreement(),
    "mean of selected scenes": lambda ds: ds.clouds.select("thin or cirrus", bands=["B12", "B04"]).reflectance.mean(
        ["scene", "y", "x"]
    ),
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Client of two workers."""
    with two_workers() as connected:
        yield connected


@pytest.fixture
def mortals() -> Iterator[Client]:
    """Client of two workers of a test of its own, which may kill them."""
    with two_workers() as connected:
        yield connected


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_of_a_dataset_opened_here_is_the_same_on_workers(name, client, catalogue):
    with watching(client) as watched:
        found = on(client, lambda: REDUCTIONS[name](catalogue))
    assert watched.ended > 0
    xr.testing.assert_identical(found, REDUCTIONS[name](catalogue).compute())


@pytest.mark.long
def test_a_reduction_goes_on_when_a_worker_is_killed_in_the_middle(mortals, catalogue):
    def means() -> xr.DataArray:
        return catalogue.reflectance.mean(["y", "x"])

    expected = means().compute()
    with watching(mortals, kill_after=4) as watched:
        found = on(mortals, means)
    assert len(watched.killed) == 1
    assert watched.ended > 4
    xr.testing.assert_identical(found, expected)
