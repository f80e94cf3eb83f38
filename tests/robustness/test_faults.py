"""Networks and servers that fail: the right data after all, or an error that names the object in time. Never a hang."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import xarray as xr
import zarr
from helpers.file_server import FileServer, RangeHandler
from helpers.http_proxy import Fault, Proxy

import s2cmc
from s2cmc.schema.catalogue import PIXEL_VARIABLES
from s2cmc.storage import cache

PATIENT, IMPATIENT = 24.0, 6.0  # time limits in seconds; a fourth of it without a word is another try
LATE = 20.0  # seconds that a busy machine may need beyond; a hang is longer
SIDE_BY_SIDE = 12  # cases; they wait more than they work
BUCKET = "bucket/catalogue.zarr"

WAYS = {
    "http": ("{}/bucket/catalogue.zarr", "obstore"),
    "http by fsspec": ("{}/bucket/catalogue.zarr", "fsspec"),
    "s3": ("s3://bucket/catalogue.zarr", "obstore"),
    "s3 by fsspec": ("s3://bucket/catalogue.zarr", "fsspec"),
}


class Thing(NamedTuple):
    """What is read: an object, the requests for it that come before, and how; without `read` it is read by opening."""

    key: str
    before: int = 0
    read: Callable[[xr.Dataset], xr.DataArray] | None = None


# Each of an object of its own, so that they can be read side by side.
THINGS = {
    "metadata": Thing("zarr.json"),
    "coordinates": Thing("coordinates.zip"),
    "mask": Thing("mask/c/0/0/0", read=lambda ds: ds.mask),
    "one band, its index": Thing("reflectance/c/3/0/0/0", read=lambda ds: ds.reflectance[3, :, :, 4]),
    "one band, its chunks": Thing("reflectance/c/4/0/0/0", before=1, read=lambda ds: ds.reflectance[4, :, :, 4]),
    "all bands": Thing("reflectance/c/5/0/0/0", read=lambda ds: ds.reflectance[5]),
}


class WithETags(RangeHandler):
    """Tells versions of objects apart, as object stores and web servers do."""

    def end_headers(self) -> None:
        self.send_header("ETag", f'"{abs(hash(self.path))}"')
        super().end_headers()


@pytest.fixture(scope="module")
def folder(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served: the store in a bucket."""
    folder = tmp_path_factory.mktemp("served")
    (folder / BUCKET).parent.mkdir()
    (folder / BUCKET).symlink_to(store)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    server = FileServer(folder)
    server._server.RequestHandlerClass = partial(WithETags, directory=str(folder), log=server.log)
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def expected(store: Path) -> xr.Dataset:
    return s2cmc.open_catalogue(store).load()


class Place:
    """The store behind a proxy, reached in one way."""

    def __init__(self, way: str, upstream: str, timeout: float) -> None:
        url, backend = WAYS[way]
        self.timeout = timeout
        self.proxy = Proxy(upstream)
        self.url = url.format(self.proxy.url)
        options = {"endpoint_url": self.proxy.url} if url.startswith("s3") else {}
        self.open: Callable[..., xr.Dataset] = partial(
            s2cmc.open_catalogue, self.url, backend=backend, timeout=timeout, **options
        )


class Case(NamedTuple):
    """A thing to be read in one way; what is opened before is there already."""

    name: str
    thing: Thing
    place: Place
    opened: xr.Dataset | None

    def is_right(self, expected: xr.Dataset) -> bool:
        if self.thing.read:
            return self.thing.read(self.opened).compute().identical(self.thing.read(expected))
        return self.place.open().drop_vars(PIXEL_VARIABLES).identical(expected.drop_vars(PIXEL_VARIABLES))


@contextmanager
def all_cases(server: str, timeout: float) -> Iterator[list[Case]]:
    """Each thing in each way, without ranges that hold more than is needed: damage there would not matter.

    Nothing is kept in memory, so that it is asked for each time.
    """
    cases = []
    with zarr.config.set({"array.sharding_coalesce_max_gap_bytes": -1}), pytest.MonkeyPatch.context() as patched:
        patched.setattr(cache, "MEMORY_CACHE_NBYTES", 0)
        for way in WAYS:
            shared = Place(way, server, timeout)
            opened = shared.open()
            for name, thing in THINGS.items():
                place = shared if thing.read else Place(way, server, timeout)
                cases.append(Case(f"{name} by {way}", thing, place, opened if thing.read else None))
        yield cases
    for case in cases:
        case.place.proxy.close()


@pytest.fixture(scope="module")
def patient(server: str) -> Iterator[list[Case]]:
    with all_cases(server, PATIENT) as cases:
        yield cases


@pytest.fixture(scope="module")
def impatient(server: str) -> Iterator[list[Case]]:
    with all_cases(server, IMPATIENT) as cases:
        yield cases


def each_with(kind: str, times: int | None, cases: list[Case], expected: xr.Dataset) -> dict[str, str]:
    """What came of reading each thing in each way with a fault, side by side, by name."""
    faults = [Fault(kind, f"/{case.thing.key}$", "GET", times, case.thing.before) for case in cases]
    for place in {case.place for case in cases}:
        place.proxy.faults = [fault for fault, case in zip(faults, cases, strict=True) if case.place is place]

    def outcome(case: Case, fault: Fault) -> str:
        started = time.monotonic()
        try:
            said = "right" if case.is_right(expected) else "wrong"
        except s2cmc.StoreError as error:
            # Without zarr.json there is no catalogue at the URL, and the message says so of the URL.
            names = (f"{case.place.url}/{case.thing.key} ", f"{case.place.url} holds no catalogue")
            said = "named" if any(name in str(error) for name in names) else f"not named: {error}"
        took = time.monotonic() - started
        if fault.times not in (None, 0) or fault.skip:
            return "the fault was not met"
        return said if took < case.place.timeout + LATE else f"{said}, but late: {took:.1f} s"

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return dict(zip((case.name for case in cases), pool.map(outcome, cases, faults), strict=True))


def all_are(said: str, cases: list[Case]) -> dict[str, str]:
    return {case.name: said for case in cases}


def unless_beside(said: str, cases: list[Case]) -> dict[str, str]:
    """The coordinates stand beside their bundle, one by one, where that is missing or damaged."""
    return all_are(said, cases) | all_are("right", [case for case in cases if case.name.startswith("coordinates")])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["500", "503", "reset", "truncate", "stall", "hang", "corrupt", "noranges"])
def test_what_fails_for_a_moment_is_right_after_all(kind, patient, expected):
    assert each_with(kind, 1, patient, expected) == all_are("right", patient)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["404", "403"])
def test_what_is_refused_is_an_error_at_once(kind, patient, expected):
    """But for the root: a conversion may end between a first look at it and one at its journal."""
    looked_for_twice = [case for case in patient if case.name.startswith("metadata")]
    assert each_with(kind, 1, patient, expected) == unless_beside("named", patient) | all_are("right", looked_for_twice)
    started = time.monotonic()
    assert each_with(kind, None, patient, expected) == unless_beside("named", patient)
    assert time.monotonic() - started < 0.75 * PATIENT


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["500", "503", "reset", "truncate", "stall", "hang"])
def test_what_always_fails_is_an_error_that_names_the_object_in_time(kind, impatient, expected):
    assert each_with(kind, None, impatient, expected) == all_are("named", impatient)


@pytest.mark.slow
def test_what_is_always_damaged_is_an_error_that_names_the_object(server, expected):
    """Where none has answered without ranges before: such a server is asked for whole objects from then on."""
    with all_cases(server, PATIENT) as cases:
        assert each_with("corrupt", None, cases, expected) == unless_beside("named", cases)


@pytest.mark.slow
def test_a_server_without_ranges_gives_the_right_data(patient, expected):
    assert each_with("noranges", None, patient, expected) == all_are("right", patient)
