"""The tutorial catalogue: made once, whole or not at all; and every example of a docstring, which runs on it."""

import doctest
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
import xarray as xr

import s2cmc
import s2cmc.conversion
from s2cmc import tutorial
from s2cmc.accessor import CloudsAccessor, ResultAccessor
from s2cmc.schema import FORMAT_VERSION

NAME = f"tutorial-{version('s2cmc')}-format-{FORMAT_VERSION}.zarr"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the user, for all tests of this module."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def ds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """The tutorial catalogue in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return tutorial.open_catalogue()


def test_the_catalogue_is_small_and_says_that_it_is_synthetic(ds: xr.Dataset, cache: Path) -> None:
    assert dict(ds.mask.sizes) == {"scene": 8, "y": 128, "x": 128}
    assert ds.attrs["synthetic"] == "true"
    assert ds.attrs["title"].startswith("Synthetic")
    assert [path.name for path in (cache / "s2cmc").iterdir()] == [NAME]


def test_examples_have_scenes_to_show(ds: xr.Dataset) -> None:
    for name in ("cumulus", "snow_ice", "cirrus", "thick", "has_alt_mask", "shadows_marked"):
        assert 0 < int(ds[name].sum()) < 8, name
    assert set(ds.annotator.values) == {"A", "B"}
    assert set(ds.dataset.values) == {"MAIN", "VALIDATION", "CALIBRATION"}


def test_a_catalogue_that_was_made_is_opened_again(
    ds: xr.Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s2cmc.conversion, "convert", None)
    xr.testing.assert_identical(tutorial.open_catalogue(cache / "s2cmc").load(), ds.load())


@pytest.mark.parametrize("configured", ["", "relative"])
def test_without_an_absolute_cache_folder_it_is_that_of_the_home(
    configured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", configured)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tutorial, "_make", lambda path: None)
    with pytest.raises(s2cmc.MissingStoreError, match=f"{tmp_path}/.cache/s2cmc/{NAME}"):
        tutorial.open_catalogue()


def test_a_store_of_another_version_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(tutorial, "version", lambda name: "99.0")
    monkeypatch.setattr(tutorial, "_make", made.append)
    (tmp_path / NAME).mkdir()
    with pytest.raises(s2cmc.MissingStoreError, match="99"):
        tutorial.open_catalogue(tmp_path)
    assert made == [tmp_path / f"tutorial-99.0-format-{FORMAT_VERSION}.zarr"]


@pytest.mark.slow
def test_of_two_at_once_both_open_the_whole_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tutorial, "_SIZE", 16)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(tutorial.open_catalogue, [tmp_path, tmp_path])
    xr.testing.assert_identical(first.load(), second.load())
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_store_of_a_faster_process_is_kept(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text(name)
    tutorial._rename(tmp_path / "mine", tmp_path / "other")
    assert (tmp_path / "other" / "zarr.json").read_text() == "other"
    with pytest.raises(FileNotFoundError):
        tutorial._rename(tmp_path / "none", tmp_path / "absent")


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(release: str, store: str) -> None:
        Path(store).mkdir()
        raise s2cmc.StoreError("the disk is full")

    monkeypatch.setattr(tutorial, "_SIZE", 16)
    monkeypatch.setattr(s2cmc.conversion, "convert", fail)
    with pytest.raises(s2cmc.StoreError, match="the disk is full"):
        tutorial.open_catalogue(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(s2cmc.CatalogueError, match=r"file.*cannot be written: .*open_catalogue\(cache_dir=\.\.\.\)"):
        tutorial.open_catalogue(tmp_path / "file")


@pytest.mark.slow
def test_what_is_missing_is_named_with_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['filelock'] = None; import s2cmc.tutorial\n"
        "try: s2cmc.tutorial.open_catalogue(sys.argv[1])\n"
        "except s2cmc.CatalogueError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    assert result.endswith("filelock, which is missing; install it with: pip install 's2cmc[convert]'\n")


@pytest.mark.slow
def test_importing_s2cmc_does_not_import_it() -> None:
    code = "import sys, s2cmc; sys.exit('s2cmc.tutorial' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def examples() -> list[doctest.DocTest]:
    """The examples of every docstring of the accessors, and of the tutorial."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    parts = [part for accessor in (CloudsAccessor, ResultAccessor) for part in accessor.__mro__[:-1]]
    return [test for part in [*parts, tutorial] for test in finder.find(part, part.__name__) if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
@pytest.mark.slow
def test_the_example_of_a_docstring_gives_what_it_says(example: doctest.DocTest, ds: xr.Dataset) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("geopandas")
    report: list[str] = []
    example.globs.update(ds=ds, s2cmc=s2cmc)
    result = doctest.DocTestRunner().run(example, out=report.append, clear_globs=False)
    assert result.failed == 0, "".join(report)
