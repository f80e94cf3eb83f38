"""Conversions that are ended and resumed, and stores that are opened and computed, again and again: nothing grows.

A few rounds by default; ``make soak MINUTES=10`` goes on for as long as it is told to and shows its numbers.
"""

import gc
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import dask
import numpy as np
import pytest

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.publish import publish
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts what Linux tells of a process"),
]

MINUTES = float(os.environ.get("S2CMC_SOAK_MINUTES", "0"))
ROUNDS = 6  # at least
WARM = 3  # rounds until pools and caches are what they will be
GROWN = 12.0  # MB by which the median of the last rounds may exceed that of the first


class Taken(NamedTuple):
    """What this process has taken: resident memory in MB, open files, threads."""

    memory: float
    files: int
    threads: int


def taken() -> Taken:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * resource.getpagesize() / 1e6
    return Taken(memory, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))


def rounds() -> Iterator[int]:
    until = time.monotonic() + 60 * MINUTES
    number = 0
    while number < ROUNDS or time.monotonic() < until:
        yield number
        number += 1


def check(name: str, found: list[Taken]) -> None:
    """Hold the last third of the rounds against the first one, once all is warm."""
    warm = found[WARM:]
    first, last = warm[: len(warm) // 3 or 1], warm[-(len(warm) // 3 or 1) :]
    before, after = (Taken(*map(median, zip(*part, strict=True))) for part in (first, last))
    said = "\n".join(
        f"{name}, {part} of {len(found)} rounds: {of.memory:.1f} MB, {of.files:g} files, {of.threads:g} threads"
        for part, of in ((f"first {len(first)}", before), (f"last {len(last)}", after))
    )
    if MINUTES:
        sys.stderr.write(f"\n{said}\n")
    # Connections and threads of pools come and go.
    assert after.files <= before.files + 2, said
    assert after.threads <= before.threads + 2, said
    assert after.memory <= before.memory + GROWN, said


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A release of 3 scenes. Not to be changed."""
    return str(make_release(tmp_path_factory.mktemp("small") / "release", scenes=3, size=32))


def test_conversions_that_are_ended_and_resumed_leave_nothing_behind(small, tmp_path):
    """Interrupted in this process; and in the long run others are killed in theirs."""
    moment = random.Random(2018)  # noqa: S311, no secret
    store, found = tmp_path / "store", []
    for number in rounds():
        interrupt = interruption(after=moment.randrange(1, 7))
        with pytest.raises(KeyboardInterrupt):
            convert(small, str(store), workers=2, progress=interrupt, overwrite=store.exists())
        if MINUTES and number % 5 == 0:
            kill(small, store, moment)
        convert(small, str(store), overwrite=True)
        assert verify(str(store)) == []
        assert [path.name for path in store.iterdir() if path.name.startswith(".")] == []
        if number % 2:
            shutil.rmtree(store)
        found.append(taken())
    check("convert, end, resume, verify", found)


def interruption(after: int) -> Callable[[int, int], None]:
    """A report of progress that interrupts."""
    left = iter(range(after))

    def report(done: int, total: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return report


def kill(release: str, store: Path, moment: random.Random) -> None:
    command = [sys.executable, "-m", "s2cmc", "convert", release, store, "--overwrite"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment.uniform(0.5, 4))
    process.send_signal(signal.SIGKILL)
    process.wait()


def ask(store: str, **options: object) -> list[np.ndarray]:
    """Open a store, and read all masks, a scene, and a band of all."""
    opened = s2cmc.open_catalogue(store, **options)
    asked = [
        opened.clouds.class_counts(),
        opened.reflectance.isel(scene=1).mean(["y", "x"]),
        opened.reflectance.sel(band="B04").mean(["y", "x"]),
    ]
    return [one.to_numpy() for one in dask.compute(*asked)]


@pytest.mark.parametrize("where", ["folder", "http", "fsspec", "cache", "s3"])
def test_stores_that_are_opened_and_computed_leave_nothing_behind(where, store, serve, tmp_path, request):
    options: dict[str, object] = {}
    url = str(store)
    if where in ("http", "fsspec", "cache"):
        url = f"{serve(store.parent).url}/{store.name}"
        options = {"fsspec": {"backend": "fsspec"}, "cache": {"cache_dir": tmp_path / "cache"}}.get(where, {})
    elif where == "s3":
        bucket = request.getfixturevalue("bucket")
        url, options = f"{bucket.url}/catalogue", bucket.options
        publish(str(store), url, access=bucket.access)
    expected, found = ask(str(store)), []
    for _ in rounds():
        for one, other in zip(ask(url, **options), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        found.append(taken())
    check(f"open, compute: {where}", found)
