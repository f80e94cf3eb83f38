"""What the README shows runs."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
import xarray as xr
from matplotlib import pyplot

import s2cmc
from s2cmc import schema
from s2cmc.accessor.clouds import CloudsAccessor

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_its_python_runs(store, tmp_path, monkeypatch):
    matplotlib.use("Agg")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "catalogue.zarr").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, names)  # noqa: S102, our own README
    pyplot.close("all")
    assert isinstance(names["ds"], xr.Dataset)
    assert isinstance(names["water"], xr.Dataset)


def test_its_python_that_needs_a_network_is_spelled_right():
    """Blocks of ``py`` are called with nothing behind."""
    asked = []

    def open_catalogue(*args: object, **options: object) -> None:
        inspect.signature(s2cmc.open_catalogue).bind(*args, **options)
        asked.append(args[0])

    for block in blocks("py"):
        exec(block, {"s2cmc": SimpleNamespace(open_catalogue=open_catalogue)})  # noqa: S102, our own README
    assert len(asked) == 3


def test_the_first_block_is_six_lines_on_what_matters():
    first = [line for line in blocks("python")[0].splitlines() if line and not line.startswith("import")]
    assert len(first) == 6


@pytest.mark.parametrize("name", [name for name in dir(CloudsAccessor) if not name.startswith("_")])
def test_every_method_of_the_accessor_is_named(name):
    assert re.search(rf"`{name}\b", README) or f" {name}" in README


def test_every_stored_variable_is_in_its_table():
    for name, dims in schema.DIMS.items():
        assert f"| `{name}` | {', '.join(dims)} |" in README


def test_the_newest_change_is_this_version():
    assert re.search(r"## Changes\s+### (\S+)", README).group(1) == s2cmc.__version__
