"""The command starts soon: each subcommand imports what it needs, and no more."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import pytest

IN_NO_PLACE = (
    *("dask", "distributed", "scipy", "numba"),
    *("obstore", "botocore", "aiohttp", "s3fs", "gcsfs", "adlfs"),
    *("rasterio", "rioxarray", "pyproj", "shapely", "geopandas", "odc", "pystac", "pyogrio"),
    *("matplotlib", "PIL", "sklearn", "filelock", "shapefile"),
    *("s2cmc.conversion", "s2cmc.synthetic"),
)
"""Modules that neither the help nor a look at a local store needs."""

ROUNDS = 5

MAIN = "from s2cmc.cli import main; main()"

MODULES = """
import sys
from s2cmc.cli import main
try:
    main()
except SystemExit as ended:
    print(*sys.modules, sep="\\n", file=sys.stderr)
    sys.exit(ended.code)
"""


def imported(*line: str | Path) -> set[str]:
    """Return the modules that a command line imports."""
    done = subprocess.run([sys.executable, "-c", MODULES, *line], check=True, capture_output=True, text=True)
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.slow
def test_the_help_imports_no_reader():
    assert imported("--help") & {"zarr", "numcodecs", "fsspec", *IN_NO_PLACE} == set()


@pytest.mark.slow
def test_the_help_of_a_subcommand_imports_no_reader():
    assert imported("convert", "--help") & {"zarr", "numcodecs", "fsspec", *IN_NO_PLACE} == set()


@pytest.mark.slow
def test_info_of_a_local_store_imports_no_transport_and_no_dask(store):
    found = imported("info", store)
    assert "zarr" in found
    assert found & set(IN_NO_PLACE) == set()


def seconds(environment: Mapping[str, str], *line: str | Path) -> float:
    """Return the processor time of a child process: other processes change it less than the time that passes."""
    before = os.times()
    subprocess.run([sys.executable, "-c", *line], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows does not count the time of children")
def test_it_starts_little_later_than_xarray(store, tmp_path):
    """Within 0.25 and 0.6 s of `import xarray` where that takes 0.65 s: 0.38 and 0.92 of it.

    Measured 0.3 and 0.75 in processor time. The limits leave room for a busy machine, and none for dask.array, which
    costs 0.6 to 0.8.
    """
    lines = {"xarray": ("import xarray",), "help": (MAIN, "--help"), "info": (MAIN, "info", store)}
    # With bytecode, as an installed package has it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    rounds = [{name: seconds(environment, *line) for name, line in lines.items()} for _ in range(1 + ROUNDS)]
    taken = {name: median(round_[name] for round_ in rounds[1:]) for name in lines}  # the first one writes bytecode
    assert taken["help"] - taken["xarray"] < 0.6 * taken["xarray"], taken
    assert taken["info"] - taken["xarray"] < 1.2 * taken["xarray"], taken
