"""The table that all benchmarks fill, and what they share."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import data
import pytest
import table

pytest.importorskip("numba", reason="benchmarks need the group `bench`: run `make bench`")


@pytest.fixture(scope="session")
def pool() -> Iterator[ThreadPoolExecutor]:
    """As many threads as cores."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield threads


@pytest.fixture(scope="session")
def rows() -> Iterator[list[table.Row]]:
    """Rows of the table, printed and written to ``build/`` at the end."""
    found: list[table.Row] = []
    yield found
    title = f"{data.SCENES} scenes of 1022 x 1022, {data.ALL} masks, {os.cpu_count()} cores; medians in one run"
    table.show(found, title)
    table.write(found, title, Path(os.environ.get("S2CMC_BENCH_OUT", Path(__file__).parents[1] / "build")))
