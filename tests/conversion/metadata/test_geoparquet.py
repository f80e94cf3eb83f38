"""The footprints and tags as one GeoParquet file, read by others."""

import io
import json
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr
from helpers.file_server import FileServer

from s2cmc.conversion.metadata.documents import outline_table
from s2cmc.conversion.metadata.geoparquet import NOTE, write_footprints
from s2cmc.conversion.source.coordinates import geo_coordinates, product_coordinates, table_coordinates
from s2cmc.geo.tables import footprints
from s2cmc.schema.catalogue import QUALITY_COORDINATES, SCENE_COORDINATES
from s2cmc.schema.geometry import Outline
from s2cmc.schema.products import Product

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(opened: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the footprints of `opened`. Not to be changed."""
    path = tmp_path_factory.mktemp("table") / "footprints.parquet"
    path.write_bytes(write_footprints(footprints(opened), {"title": "Synthetic"}))
    return path


def test_geopandas_reads_every_coordinate_and_every_footprint(file: Path, opened: xr.Dataset) -> None:
    found = geopandas.read_parquet(file)
    expected = footprints(opened)
    assert found.crs == 4326
    assert found.set_index("scene").geometry.geom_equals(expected.geometry).all()
    for coordinate in SCENE_COORDINATES:
        np.testing.assert_array_equal(found[coordinate.name], opened[coordinate.name])


def test_geopandas_reads_only_what_touches_a_box(file: Path, opened: xr.Dataset) -> None:
    row = opened.isel(scene=3)
    box = tuple(float(row[name]) for name in ("lon_min", "lat_min", "lon_max", "lat_max"))
    found = geopandas.read_parquet(file, bbox=box)
    assert row["scene"].item() in found["scene"].tolist()
    assert len(found) < opened.sizes["scene"]


def test_it_is_geoparquet_1_1_in_one_row_group(file: Path) -> None:
    # https://geoparquet.org/releases/v1.1.0: what the key `geo` must hold.
    metadata = pq.read_metadata(file)
    geo = json.loads(metadata.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    assert metadata.num_row_groups == 1
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def _query(sql: str, file: Path) -> list[tuple[Any, ...]]:
    return duckdb.execute(sql, [str(file)]).fetchall()


def test_duckdb_selects_by_tag_without_any_extension(file: Path, opened: xr.Dataset) -> None:
    found = _query("SELECT scene FROM read_parquet(?) WHERE snow_ice AND (thin OR cirrus)", file)
    assert found == [(scene,) for scene in opened.clouds.select("snow_ice and (thin or cirrus)").scene.values]
    assert found


def test_duckdb_selects_by_place_without_spatial_functions(file: Path, opened: xr.Dataset) -> None:
    ((found,),) = _query("SELECT count(*) FROM read_parquet(?) WHERE bbox.ymin > 0", file)
    assert found == int((opened["lat_min"] > 0).sum())
    assert 0 < found < opened.sizes["scene"]


def test_duckdb_reads_the_geometry_without_its_spatial_extension(file: Path, opened: xr.Dataset) -> None:
    (kind, geometry), *_ = _query("SELECT typeof(geometry), geometry FROM read_parquet(?)", file)
    assert kind.startswith("GEOMETRY")  # of its own since DuckDB 1.5
    assert shapely.from_wkb(geometry).equals(footprints(opened).geometry.iloc[0])


def test_a_file_says_what_it_is_of(file: Path) -> None:
    assert json.loads(pq.read_metadata(file).metadata[NOTE]) == {"title": "Synthetic"}


def test_the_same_table_gives_the_same_bytes(file: Path, opened: xr.Dataset) -> None:
    assert write_footprints(footprints(opened), {"title": "Synthetic"}) == file.read_bytes()


def test_a_scene_of_unknown_place_keeps_its_row(catalogue: xr.Dataset) -> None:
    x = catalogue["x_origin"].values.copy()
    x[2] = np.nan
    content = write_footprints(footprints(catalogue.assign_coords(x_origin=("scene", x))), {})
    found = geopandas.read_parquet(io.BytesIO(content))
    assert found.geometry.isna().tolist() == [i == 2 for i in range(10)]
    assert found["scene"].tolist() == catalogue["scene"].values.tolist()


def _whole_catalogue(shared_data: Path) -> xr.Dataset:
    """Coordinates of all 513 scenes: the genuine table, and made-up places in the right zones."""
    table = pd.read_csv(shared_data / "classification_tags.csv")
    products = [Product.parse(scene) for scene in table["scene"]]
    random = np.random.default_rng(0)
    left = 20.0 * random.integers(10_000, 40_000, len(products))
    top = 20.0 * random.integers(50_000, 400_000, len(products))
    outlines = [
        Outline(p.epsg, x, y - 20_440, x + 20_440, y)
        for p, x, y in zip(products, left.tolist(), top.tolist(), strict=True)
    ]
    percents = {f"mask_{name}_percent": table[f"{name}_percent"].to_numpy() for name in ("clear", "cloud", "shadow")}
    coordinates = (
        {c.name: np.zeros(len(products), c.dtype) for c in QUALITY_COORDINATES}
        | percents
        | table_coordinates(table)
        | product_coordinates(products)
        | geo_coordinates(outlines, [0] * len(products))
    )
    centres = (np.arange(1022) + 0.5) * 20
    return xr.Dataset(
        coords={"x": centres, "y": -centres} | {name: ("scene", values) for name, values in coordinates.items()}
    )


def test_one_request_brings_the_table_of_all_513_scenes(shared_data: Path, tmp_path: Path) -> None:
    content = write_footprints(outline_table(_whole_catalogue(shared_data)), {"title": "the catalogue"})
    assert len(content) < 200_000
    (tmp_path / "footprints.parquet").write_bytes(content)
    server = FileServer(tmp_path)
    try:
        found = pd.read_parquet(f"{server.url}/footprints.parquet")
        assert int(found["snow_ice"].sum()) == 113  # as published
        assert server.log == [("GET", "/footprints.parquet", len(content))]
    finally:
        server.close()


def test_outlines_in_the_table_are_those_of_the_arrays_to_a_metre(opened: xr.Dataset, shared_data: Path) -> None:
    catalogue = _whole_catalogue(shared_data).isel(scene=slice(20))
    # What lies between its points is straight in degrees, and in metres only where there are many.
    exact, simple = footprints(catalogue).geometry, outline_table(catalogue).geometry.segmentize(1e-3)
    for scene, epsg in zip(exact.index, catalogue["epsg"].values.tolist(), strict=True):
        edges, fewer = (table[[scene]].to_crs(epsg).boundary for table in (exact, simple))
        assert edges.hausdorff_distance(fewer).item() < 1.2
