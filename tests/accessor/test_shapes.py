"""Methods of `ds.clouds` on whatever xarray makes of a catalogue: the right answer, or an error with the remedy."""

import inspect
import itertools
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dask
import geopandas
import numpy as np
import pytest
import xarray as xr
from helpers.safe_products import make_tile, write_safe
from matplotlib.figure import Figure

import s2cmc
from s2cmc.accessor._shape import as_catalogue
from s2cmc.accessor.clouds import CloudsAccessor
from s2cmc.errors import CatalogueError
from s2cmc.report import charts
from s2cmc.training import Patches

SCENES = [1, 3, 4]
"""Scenes with both annotators, marked and unmarked shadows, and a pixel that is not one-hot. Some tags are equal."""

KEEP_DIM = {"select", "masks", "confusion"}
"""Methods that may leave a scene out, and so keep dimension `scene` for a single one."""


@dataclass(frozen=True)
class Shape:
    """One thing that xarray makes of a catalogue.

    Attributes
    ----------
    make : callable
        Takes the catalogue as opened, its store and a folder.
    scenes : list of int
        Scenes that it holds.
    remedy : str, optional
        Pattern of the error of methods that cannot answer; without it, all must.
    dims : callable, optional
        Takes the answer of the catalogue of these scenes, the name of the method, and this catalogue; gives the answer
        the dims that it must have here.
    """

    make: Callable[[xr.Dataset, Path, Path], xr.Dataset]
    remedy: str | None = None
    scenes: tuple[int, ...] = tuple(SCENES)
    dims: Callable[[Any, str, xr.Dataset], Any] = lambda answer, name, catalogue: answer


def _alone(answer: Any, name: str, catalogue: xr.Dataset) -> Any:
    return answer if name in KEEP_DIM else answer.isel(scene=0)


def _on_earth(answer: Any, name: str, catalogue: xr.Dataset) -> Any:
    """Its y and x are others."""
    return _alone(answer, name, catalogue).drop_vars(["y", "x"], errors="ignore")


def _swapped(dim: str, *levels: str) -> Callable[[Any, str, xr.Dataset], Any]:
    def swap(answer: Any, name: str, catalogue: xr.Dataset) -> Any:
        names = [n for n in levels or (dim,) if n in catalogue.coords]
        swapped = answer.assign_coords({n: ("scene", catalogue[n].values) for n in names}).swap_dims(scene=dim)
        return swapped.set_index({dim: levels}) if levels else swapped

    return swap


def _concat(parts: list[xr.Dataset], new: bool, **options: Any) -> xr.Dataset:
    defaults = xr.set_options(use_new_combine_kwarg_defaults=new)
    with defaults, warnings.catch_warnings(action="ignore", category=FutureWarning):
        return xr.concat(parts, "scene", **options)


def _saved(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    if path.suffix == ".nc":
        dataset.to_netcdf(path, engine="h5netcdf")
        return xr.open_dataset(path, engine="h5netcdf", chunks={})
    with warnings.catch_warnings(action="ignore"):  # on strings, which Zarr 3 does not specify
        dataset.drop_encoding().to_zarr(path, mode="w", consolidated=False)
    return xr.open_zarr(path, consolidated=False)


def _some(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(scene=SCENES)


RENAMED = r"under this name \(ds\.rename gives it back\)|names back with ds\.rename"
STACKED = r"ds\.unstack|unstack the dimensions|" + RENAMED
EARTH = r"ask the catalogue that it was taken from"
KEEP = r"keep '\w+' in the part of it|keep coordinate 'band'"
ALONE = {"scenes": (4,), "dims": _alone}

SHAPES = {
    "as opened": Shape(lambda ds, store, tmp: _some(ds)),
    "opened without dask": Shape(lambda ds, store, tmp: _some(s2cmc.open_catalogue(store, chunks=None))),
    "loop": Shape(lambda ds, store, tmp: _concat([ds.isel(scene=i) for i in SCENES], False)),
    "loop, new defaults": Shape(
        lambda ds, store, tmp: _concat([ds.isel(scene=i) for i in SCENES], True),
        r"join them with xr\.concat\(parts, 'scene', coords='different', compat='equals'\)",
    ),
    "loop, new defaults, remedy": Shape(
        lambda ds, store, tmp: _concat([ds.isel(scene=i) for i in SCENES], True, coords="different", compat="equals")
    ),
    "loop of lists": Shape(lambda ds, store, tmp: _concat([ds.isel(scene=[i]) for i in SCENES], False)),
    "loop of lists, new defaults": Shape(lambda ds, store, tmp: _concat([ds.isel(scene=[i]) for i in SCENES], True)),
    "loop of selected": Shape(
        lambda ds, store, tmp: _concat(
            [ds.clouds.select(f"index == {ds.index.values[i]}").isel(scene=0) for i in SCENES], False
        )
    ),
    "loop of modified": Shape(
        lambda ds, store, tmp: _concat([ds.isel(scene=i).load().assign(more=0) for i in SCENES], False)
    ),
    "loop over IDs": Shape(
        lambda ds, store, tmp: _concat([ds.sel(scene=s) for s in ds.scene.values[SCENES]], False)
    ),
    "grouped": Shape(lambda ds, store, tmp: _some(ds).groupby("platform").map(lambda part: part).sortby("index")),
    "single": Shape(lambda ds, store, tmp: ds.isel(scene=4), **ALONE),
    "single by ID": Shape(lambda ds, store, tmp: ds.sel(scene=ds.scene.values[4]), **ALONE),
    "single, squeezed": Shape(lambda ds, store, tmp: ds.isel(scene=[4]).squeeze("scene"), **ALONE),
    "single without dask": Shape(
        lambda ds, store, tmp: s2cmc.open_catalogue(store, chunks=None).isel(scene=4), **ALONE
    ),
    "single, loaded": Shape(lambda ds, store, tmp: ds.isel(scene=4).load(), **ALONE),
    "single of open_zarr": Shape(lambda ds, store, tmp: xr.open_zarr(store).isel(scene=4), **ALONE),
    "single of open_zarr, no dask": Shape(
        lambda ds, store, tmp: xr.open_zarr(store, chunks=None).isel(scene=4), **ALONE
    ),
    "single, expanded": Shape(lambda ds, store, tmp: ds.isel(scene=4).expand_dims("scene"), scenes=(4,)),
    "single without ID": Shape(lambda ds, store, tmp: ds.isel(scene=4).drop_vars("scene"), KEEP, **ALONE),
    "single on Earth": Shape(lambda ds, store, tmp: ds.clouds.scene(4), EARTH, (4,), _on_earth),
    "along time": Shape(lambda ds, store, tmp: _some(ds).swap_dims(scene="time"), dims=_swapped("time")),
    "along tiles": Shape(lambda ds, store, tmp: _some(ds).swap_dims(scene="mgrs_tile"), dims=_swapped("mgrs_tile")),
    "dimension renamed": Shape(lambda ds, store, tmp: _some(ds).rename_dims(scene="sample"), dims=_swapped("sample")),
    "MultiIndex beside": Shape(
        lambda ds, store, tmp: _some(ds).rename_dims(scene="sample").set_index(sample=["mgrs_tile", "time"]),
        dims=_swapped("sample", "mgrs_tile", "time"),
    ),
    "MultiIndex": Shape(
        lambda ds, store, tmp: _some(ds).set_index(scene=["mgrs_tile", "time"]),
        r"ds\.rename_dims\(scene='sample'\)\.set_index\(sample=\['mgrs_tile', 'time'\]\)",
    ),
    "renamed": Shape(lambda ds, store, tmp: _some(ds).rename(scene="sample"), RENAMED),
    "ID renamed": Shape(lambda ds, store, tmp: _some(ds).rename_vars(scene="id"), RENAMED),
    "ID dropped": Shape(lambda ds, store, tmp: _some(ds).drop_vars("scene"), KEEP),
    "rows renamed": Shape(lambda ds, store, tmp: _some(ds).rename(y="row", x="column"), RENAMED),
    "bands renamed": Shape(lambda ds, store, tmp: _some(ds).rename(band="channel"), RENAMED + "|" + KEEP),
    "mask renamed": Shape(lambda ds, store, tmp: _some(ds).rename(mask="labels"), RENAMED),
    "tag renamed": Shape(
        lambda ds, store, tmp: _some(ds).rename(thin="thin_cloud"), RENAMED + "|did you mean .*thin_cloud"
    ),
    "pixels stacked": Shape(lambda ds, store, tmp: _some(ds).stack(pixel=["y", "x"]), STACKED),
    "all stacked": Shape(lambda ds, store, tmp: _some(ds).stack(pixel=["scene", "y", "x"]), STACKED),
    "all stacked, no index": Shape(
        lambda ds, store, tmp: _some(ds).stack(pixel=["scene", "y", "x"]).reset_index("pixel"), STACKED
    ),
    "scenes stacked": Shape(
        lambda ds, store, tmp: _some(ds).stack(sample=["scene"]), r"ds\.unstack\('sample'\), or with ds\.reset_index"
    ),
    "scenes stacked, remedy": Shape(lambda ds, store, tmp: _some(ds).stack(sample=["scene"]).unstack("sample")),
    "open_zarr": Shape(lambda ds, store, tmp: _some(xr.open_zarr(store))),
    "open_zarr without dask": Shape(lambda ds, store, tmp: _some(xr.open_zarr(store, chunks=None))),
    "open_zarr as stored": Shape(lambda ds, store, tmp: _some(xr.open_zarr(store, mask_and_scale=False))),
    "open_zarr, loaded": Shape(lambda ds, store, tmp: _some(xr.open_zarr(store)).load()),
    "netCDF": Shape(lambda ds, store, tmp: _saved(_some(ds), tmp / "saved.nc")),
    "Zarr": Shape(lambda ds, store, tmp: _saved(_some(ds), tmp / "saved.zarr")),
    "loaded": Shape(lambda ds, store, tmp: _some(ds).load()),
    "computed": Shape(lambda ds, store, tmp: _some(ds).compute()),
    "copied": Shape(lambda ds, store, tmp: _some(ds).copy(deep=True)),
    "persisted": Shape(lambda ds, store, tmp: _some(ds).persist()),
    "pickled": Shape(lambda ds, store, tmp: pickle.loads(pickle.dumps(_some(ds)))),  # noqa: S301
    "rechunked": Shape(lambda ds, store, tmp: _some(ds).chunk(scene=2, y=20, x=-1, band=5)),
    "transposed": Shape(lambda ds, store, tmp: _some(ds).transpose("band", "x", "y", ...)),
    "dropped by where": Shape(
        lambda ds, store, tmp: ds.where(ds.index.isin(ds.index[SCENES]), drop=True)
    ),
    "as float": Shape(lambda ds, store, tmp: _some(ds).astype(float)),
    "coordinates as variables": Shape(lambda ds, store, tmp: _some(ds).reset_coords()),
    "with missing scenes": Shape(
        lambda ds, store, tmp: _some(ds).reindex(scene=["none", *ds.scene.values[SCENES]]),
        r"leave these scenes out, e\.g\. by ds\.isel\(scene=ds\['\w+'\]\.notnull\(\)\)",
    ),
    "one row": Shape(lambda ds, store, tmp: _some(ds).isel(y=0), r"by a list or slice"),
    "one band": Shape(lambda ds, store, tmp: _some(ds).sel(band="B04"), r"by a list or slice|needs bands B0"),
    "without pixels": Shape(lambda ds, store, tmp: _some(ds).drop_dims(["y", "x"]), KEEP),
    "one variable": Shape(lambda ds, store, tmp: _some(ds)[["mask", "alt_mask"]], KEEP),
    "without coordinates": Shape(lambda ds, store, tmp: _some(ds).drop_vars(ds.coords), KEEP),
    "of models": Shape(
        lambda ds, store, tmp: _some(ds).expand_dims(model=2), r"select one position along others with ds\.isel"
    ),
}  # fmt: skip

ALIKE = {
    *("as opened", "opened without dask", "loop of lists", "loop of selected", "loop over IDs", "grouped"),
    *("single by ID", "single, squeezed", "single, loaded", "single of open_zarr, no dask", "along tiles"),
    *("scenes stacked, remedy", "open_zarr, loaded", "computed", "pickled", "rechunked", "copied", "persisted"),
    *("as float", "loop of modified", "loop of lists, new defaults", "loop, new defaults, remedy", "Zarr"),
    *(
        "single without dask",
        "single of open_zarr",
        "open_zarr without dask",
        "open_zarr as stored",
        "all stacked, no index",
        "ID dropped",
        "rows renamed",
    ),
}
"""Much like another one: every method is asked of them by `make long` alone."""

PUBLIC = sorted(name for name in dir(CloudsAccessor) if not name.startswith("_"))


def _cases() -> Iterator[Any]:
    for name, shape in itertools.product(PUBLIC, SHAPES):
        marks = [pytest.mark.slow, *[pytest.mark.long] * (shape in ALIKE)]
        yield pytest.param(name, shape, marks=marks, id=f"{name}-{shape}")


OPTIONS = {
    "resamples": 20,
    "size": 32,
    "batch": 2,
    "count": 4,
    "most": 2,
    "crs": 3857,
    "fractions": {"train": 0.5, "test": 0.5},
    "positions": [[0, 3, 4]],
    "name": "NDSI",
    "key": 0,
    "bands": ["B11"],
    "expression": "index >= 0 and (thin or not thin)",
}
"""Arguments of all methods that have them, so that these are quick, and ask for coordinates."""


def _ask(dataset: xr.Dataset, name: str, arguments: Mapping[str, Any]) -> Any:
    """Ask by a method, with all arguments whose names are given; an argument without default must be given."""
    member = getattr(CloudsAccessor, name)
    if isinstance(member, property):
        return getattr(dataset.clouds, name)
    parameters = list(inspect.signature(member).parameters.values())[1:]
    absent = [p.name for p in parameters if p.default is p.empty and p.name not in arguments]
    assert not absent, f"add {absent} to the arguments that this test gives"
    return getattr(dataset.clouds, name)(**{p.name: arguments[p.name] for p in parameters if p.name in arguments})


@pytest.fixture(scope="module")
def product(opened: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with band B11 of the original products of two scenes, noise around the scene."""
    folder = tmp_path_factory.mktemp("product")
    for position in (1, 4):
        window = opened.clouds.l1c_window(position)
        dn = np.rint(opened.reflectance.isel(scene=position).sel(band="B11").values * 10_000).astype(np.uint16)
        write_safe(folder, window, {"B11": make_tile(window, "B11", dn)})
    return folder


@pytest.fixture(autouse=True)
def without_threads() -> Iterator[None]:
    """Threads take longer to be given such small tasks than these take."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(autouse=True)
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw the same charts for every shape takes minutes; the tables beside them are compared."""
    for name in [name for name in vars(charts) if name.endswith("_chart")]:
        monkeypatch.setattr(charts, name, lambda *tables: Figure())
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b""))


def _arguments(dataset: xr.Dataset, catalogue: xr.Dataset) -> dict[str, Any]:
    """Make the arguments that users would make of the same Dataset; where they cannot, of the catalogue."""
    try:
        prediction, by = dataset["mask"].roll(x=3) == 1, dataset["dataset"].rename("part")
    except (KeyError, ValueError):
        prediction, by = catalogue["mask"].roll(x=3) == 1, catalogue["dataset"].rename("part")
    return OPTIONS | {"prediction": prediction, "first": prediction, "second": ~prediction, "by": ["snow_ice", by]}


class Case:
    """A Dataset, and arguments made of it."""

    def __init__(self, dataset: xr.Dataset, catalogue: xr.Dataset, product: Path) -> None:
        self.dataset, self._arguments = dataset, _arguments(dataset, catalogue) | {"source": product}

    def ask(self, name: str) -> Any:
        """Ask by a method."""
        arguments = self._arguments
        if name == "precision_recall":
            arguments = arguments | {"prediction": arguments["prediction"].astype("float32")}
        return _ask(self.dataset, name, arguments)


@pytest.fixture(scope="module")
def catalogue(opened: xr.Dataset) -> xr.Dataset:
    return opened.copy().load()


@pytest.fixture(scope="module")
def cases(
    opened: xr.Dataset, store: Path, product: Path, catalogue: xr.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Case]:
    """Make each Dataset once."""

    @cache
    def case(shape: str) -> Case:
        dataset = SHAPES[shape].make(opened, store, tmp_path_factory.mktemp("saved"))
        return Case(dataset, catalogue.isel(scene=list(SHAPES[shape].scenes)), product)

    return case


@pytest.fixture(scope="module")
def right(catalogue: xr.Dataset, product: Path) -> Callable[[str, str], Any]:
    """Ask the catalogue itself, once for each method and dimensions."""

    @cache
    def answer(scenes: tuple[int, ...], name: str) -> Any:
        part = catalogue.isel(scene=list(scenes))
        try:
            return Case(part, part, product).ask(name)
        except CatalogueError as error:
            return error

    def of_shape(shape: str, name: str) -> Any:
        scenes = SHAPES[shape].scenes
        whole = answer(scenes, name)
        if isinstance(whole, xr.Dataset | xr.DataArray) and "scene" in whole.dims:
            whole = SHAPES[shape].dims(whole, name, catalogue.isel(scene=list(scenes)))
        return whole if isinstance(whole, CatalogueError) else _contents(whole)

    return of_shape


@pytest.mark.parametrize(("name", "shape"), list(_cases()))
def test_every_shape_gets_the_answer_of_the_catalogue_or_a_remedy(
    name: str, shape: str, cases: Callable[[str], Case], right: Callable[[str, str], Any]
) -> None:
    expected, remedy = right(shape, name), SHAPES[shape].remedy
    try:
        found = _contents(cases(shape).ask(name))
    except CatalogueError as found:
        patterns = [remedy or "a remedy"] + ([re.escape(str(expected))] if isinstance(expected, CatalogueError) else [])
        assert re.search("|".join(patterns), str(found))  # noqa: PT017, since an answer may be right too
    else:
        _assert_same(found, expected, partial=remedy is not None)


def test_a_catalogue_as_opened_is_not_copied(opened: xr.Dataset) -> None:
    for part in (opened, opened.isel(scene=[3, 1]), opened.clouds.select("thin"), opened.copy().load()):
        assert as_catalogue(part, ("scene", "reflectance", "mask", "y", "x", "x_origin", "thin")) is part


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize("shape", ["single", "single, expanded", "loop", "along time", "dropped by where", "as float"])
def test_pixels_stay_lazy(shape: str, opened: xr.Dataset, store: Path, tmp_path: Path) -> None:
    dataset = SHAPES[shape].make(opened, store, tmp_path)
    dataset.clouds.select("thin"), dataset.clouds.tags, dataset.clouds.footprints()
    for pixels in (dataset.clouds.rgb(), dataset.clouds.one_hot(), dataset.clouds.class_counts()):
        assert pixels.chunks is not None


@pytest.mark.slow
def test_histograms_and_counts_of_a_single_scene_are_taken_back(opened: xr.Dataset) -> None:
    single, of_one = opened.isel(scene=4), opened.isel(scene=[4])
    histograms = single.clouds.band_histograms().sel(dn=slice(20_000)).compute()
    assert "scene" not in histograms.dims
    statistics = single.clouds.band_statistics(histograms=single.clouds.band_histograms())
    xr.testing.assert_equal(statistics.compute(), of_one.clouds.band_statistics().compute())
    counts = single.clouds.confusion(single["mask"] == 1)
    result = single.clouds.evaluate(counts.isel(scene=0), resamples=20)
    xr.testing.assert_equal(result, of_one.clouds.evaluate(of_one["mask"] == 1, resamples=20))


def test_scalars_are_those_of_every_scene(opened: xr.Dataset) -> None:
    joined = _concat([opened.isel(scene=i).assign_coords(part="first") for i in SCENES], False)
    assert joined["part"].dims == joined["snow_ice"].dims == ()
    assert (
        joined.clouds.select("part == 'first' and not snow_ice").scene.values.tolist() == joined.scene.values.tolist()
    )
    assert joined.clouds.prevalence(by="part").scenes.values.tolist() == [3, 3]
    assert joined.clouds.prevalence(by=joined["part"]).scenes.values.tolist() == [3, 3]


def test_scalars_that_nothing_proves_are_refused(opened: xr.Dataset) -> None:
    part = opened.isel(scene=SCENES).drop_vars(["index", "snow_ice"]).assign_coords(snow_ice=True)
    assert part.clouds.tags.sel(tag="snow_ice").all()  # times differ from scene to scene
    with pytest.raises(CatalogueError, match=r"coordinates \(snow_ice, ...\) have one value for 3 scenes"):
        part.drop_vars("time").clouds.tag_frequencies()


def test_pixels_without_a_class_are_left_out_everywhere(opened: xr.Dataset) -> None:
    """`ds.where` makes labels floats, and gives thumbnails the dimensions of pixels."""
    some = opened.isel(scene=SCENES)
    bright = (some.reflectance.sel(band="B02", drop=True) > 0.2).compute()
    taken_out = some.where(bright)
    labels = some["mask"].where(bright, 255).astype("uint8")
    np.testing.assert_array_equal(taken_out.clouds.masks(), labels)
    counted = some.assign(mask=labels).clouds.confusion(some["mask"]).confusion
    np.testing.assert_array_equal(taken_out.clouds.confusion(some["mask"]).confusion, counted)
    assert '<img alt="thumbnail' not in taken_out.clouds.evaluation_page(some["mask"] == 1, resamples=20)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.slow
def test_every_shape_is_described(shape: str, cases: Callable[[str], Case]) -> None:
    """See test_description for what it says."""
    assert "scenes" in repr(cases(shape).dataset.clouds)


@pytest.mark.parametrize("shape", [name for name, shape in SHAPES.items() if shape.remedy])
def test_a_shape_with_a_remedy_needs_it(shape: str, cases: Callable[[str], Case]) -> None:
    with pytest.raises(CatalogueError, match=SHAPES[shape].remedy):
        [cases(shape).ask(name) for name in ("tags", "gallery", "footprints")]


def _contents(answer: Any) -> Any:
    """Take an answer apart into names and arrays."""
    if isinstance(answer, xr.DataTree):
        return {path: _contents(node.to_dataset()) for path, node in answer.subtree_with_keys}
    if isinstance(answer, xr.Dataset | xr.DataArray):
        dataset = answer.to_dataset(name="answer") if isinstance(answer, xr.DataArray) else answer
        return {str(name): _variable(variable) for name, variable in dataset.compute().variables.items()}
    if isinstance(answer, geopandas.GeoDataFrame):
        return {"scene": _plain(answer.index.to_numpy())} | {name: _plain(answer[name].to_numpy()) for name in answer}
    if isinstance(answer, Figure):
        return {str(i): panel.images[0].get_array().data for i, panel in enumerate(answer.axes)}
    if is_dataclass(answer):
        parts = {"batch": answer[0]} if isinstance(answer, Patches) else vars(answer)
        return {name: _contents(value) for name, value in parts.items()}
    return answer


def _variable(variable: xr.Variable) -> dict[str, Any]:
    """Return dims and values, in an order that does not depend on the order of the dims."""
    ordered = variable.transpose(*sorted(variable.dims, key=str))
    return {"dims": ordered.dims, "values": _plain(ordered.values)}


def _plain(values: np.ndarray) -> np.ndarray:
    """Return text and objects as text."""
    if values.dtype.kind not in "TUO":
        return values
    return np.array([str(value) for value in values.ravel()], str).reshape(values.shape)


def _assert_same(found: Any, right: Any, partial: bool, place: str = "answer") -> None:
    """Check that what is right was found; there may be coordinates beside it.

    A partial answer lacks what the Dataset lacks, and has its dims.
    """
    if isinstance(right, dict) and "dims" in right:
        if found["dims"] == right["dims"] or not partial:
            assert found["dims"] == right["dims"], place
            _assert_same(found["values"], right["values"], partial, place)
    elif isinstance(right, dict):
        assert partial or right.keys() <= found.keys(), f"{place} lacks {right.keys() - found.keys()}"
        for key in right.keys() & found.keys():
            _assert_same(found[key], right[key], partial, f"{place}, {key}")
    elif isinstance(right, np.ndarray) and right.dtype.kind == "f":
        assert found.shape == right.shape, place
        np.testing.assert_allclose(found, right, rtol=0 if found.dtype == right.dtype else 1e-6, err_msg=place)
    elif isinstance(right, np.ndarray):
        if not np.array_equal(found, right):
            np.testing.assert_array_equal(found, right, err_msg=place)
    elif partial and isinstance(right, str):
        assert found[:9] == right[:9], place  # of a page that has fewer pictures
    else:
        assert found == right, place
