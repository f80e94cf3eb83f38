"""The Croissant description: valid, with records that are really read, and honest."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
import xarray as xr
from rdflib import Graph, URIRef

from s2cmc.conversion.layout.attributes import GLOBAL_ATTRIBUTES
from s2cmc.conversion.metadata.croissant import make_croissant
from s2cmc.conversion.metadata.documents import describe
from s2cmc.conversion.metadata.geoparquet import write_footprints
from s2cmc.geo.tables import footprints
from s2cmc.schema.bands import BANDS
from s2cmc.schema.catalogue import SCENE_COORDINATES

pytestmark = [
    pytest.mark.slow,
    # rdflib, which mlcroissant reads JSON-LD with, says so of its own class.
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated"),
    # mlcroissant calls pandas in a way that a later version will not have.
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated"),
]

GEO = "http://mlcommons.org/croissant/geo/"


def _described(catalogue: xr.Dataset, store: Path, out: Path) -> Path:
    """Footprints and description of a catalogue in a folder."""
    table = footprints(catalogue)
    parquet = write_footprints(table, {})
    (out / "footprints.parquet").write_bytes(parquet)
    root = (store / "zarr.json").read_bytes()
    document = make_croissant(catalogue, table, ("footprints.parquet", parquet), "../catalogue.zarr", root)
    (out / "croissant.json").write_text(json.dumps(document))
    return out / "croissant.json"


@pytest.fixture(scope="module")
def genuine(opened: xr.Dataset, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A description as if the pixels were not made up. Not to be changed."""
    catalogue = opened.assign_attrs(GLOBAL_ATTRIBUTES)
    del catalogue.attrs["synthetic"]
    return _described(catalogue, store, tmp_path_factory.mktemp("genuine"))


@pytest.fixture
def dataset(genuine: Path) -> mlcroissant.Dataset:
    """`genuine` as mlcroissant reads it."""
    return mlcroissant.Dataset(jsonld=str(genuine))


def test_mlcroissant_finds_nothing_to_complain_of(genuine: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(jsonld=str(genuine))
    assert found.metadata.ctx.issues.report() == ""
    assert [record for record in caplog.records if record.name == "absl"] == []
    assert found.metadata.conforms_to == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/geo/1.0",
    ]


def test_mlcroissant_would_complain(genuine: Path) -> None:
    broken = json.loads(genuine.read_text())
    del broken["distribution"][0]["sha256"]
    with pytest.raises(mlcroissant.ValidationError, match="sha256"):
        mlcroissant.Dataset(jsonld=broken)


def test_the_records_are_the_scenes_of_the_store(dataset: mlcroissant.Dataset, opened: xr.Dataset) -> None:
    records = list(dataset.records("scenes"))
    assert len(records) == opened.sizes["scene"]
    for i, record in enumerate(records):
        for coordinate in SCENE_COORDINATES:
            found = record[f"scenes/{coordinate.name}"]
            expected = opened[coordinate.name].values[i]
            if opened[coordinate.name].dtype.kind == "U":
                assert found.decode() == expected
            else:
                np.testing.assert_array_equal(np.asarray(found, opened[coordinate.name].dtype), expected)


def test_what_is_written_beside_a_store_is_read_from_there(store: Path, tmp_path: Path) -> None:
    describe(str(store), str(tmp_path / "metadata"))
    found = mlcroissant.Dataset(jsonld=str(tmp_path / "metadata" / "croissant.json"))
    assert len(list(found.records("scenes"))) == 10
    (file,) = [file for file in found.metadata.distribution if file.id == "store"]
    root = (tmp_path / "metadata" / file.content_url).read_bytes()
    assert hashlib.sha256(root).hexdigest() == file.sha256


def test_the_classes_are_an_enumeration(dataset: mlcroissant.Dataset) -> None:
    found = {r["mask_classes/value"]: r["mask_classes/name"] for r in dataset.records("mask_classes")}
    assert found == {0: "clear", 1: "cloud", 2: "cloud_shadow"}


def test_the_splits_are_those_the_authors_advise(dataset: mlcroissant.Dataset, opened: xr.Dataset) -> None:
    splits = {r["parts/dataset"]: (r["parts/split"], r["parts/url"]) for r in dataset.records("parts")}
    train, test = ("train", "cr:TrainingSplit"), ("test", "cr:TestSplit")
    assert splits == {"MAIN": train, "VALIDATION": test, "CALIBRATION": test}
    parts = [r["scenes/dataset"].decode() for r in dataset.records("scenes")]
    for name in ("train", "test"):
        assert sum(splits[part][0] == name for part in parts) == opened.clouds.select(split=name).sizes["scene"]


def test_checksums_are_those_of_the_files(genuine: Path, store: Path) -> None:
    files = {file["@id"]: file for file in json.loads(genuine.read_text())["distribution"]}
    table, root = (genuine.parent / "footprints.parquet").read_bytes(), (store / "zarr.json").read_bytes()
    for name, content in (("footprints", table), ("store", root)):
        assert files[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert files[name]["contentSize"] == f"{len(content)} B"
    assert files["store"]["contentUrl"] == "../catalogue.zarr/zarr.json"


def test_a_damaged_table_is_not_what_is_described(genuine: Path) -> None:
    described = json.loads(genuine.read_text())["distribution"][0]["sha256"]
    content = bytearray((genuine.parent / "footprints.parquet").read_bytes())
    content[100] ^= 1
    assert hashlib.sha256(content).hexdigest() != described


def _graph(path: Path) -> Graph:
    """The description as RDF: what a reader of JSON-LD that knows neither vocabulary understands."""
    return Graph().parse(data=path.read_text(), format="json-ld", publicID="https://example.org/")


def test_the_geospatial_part_is_of_the_vocabulary_of_geocroissant(genuine: Path) -> None:
    # Terms of docs/croissant-geo-spec.md of mlcommons/croissant, version 1.0.
    terms = {str(predicate).removeprefix(GEO) for _, predicate, _ in _graph(genuine) if str(predicate).startswith(GEO)}
    assert terms == {
        *("coordinateReferenceSystem", "spatialResolution", "samplingStrategy"),
        *("bandConfiguration", "totalBands", "bandNameList"),
        *("spectralBandMetadata", "centerWavelength", "bandwidth"),
    }


def test_bands_are_described_in_nanometres(genuine: Path) -> None:
    document = json.loads(genuine.read_text())
    assert document["geocr:bandConfiguration"]["geocr:bandNameList"] == [band.name for band in BANDS]
    blue = document["geocr:spectralBandMetadata"][1]
    assert blue["name"] == "B02"
    assert blue["geocr:centerWavelength"] == {"@type": "QuantitativeValue", "value": 492.4, "unitText": "nm"}
    assert blue["geocr:bandwidth"] == {"@type": "QuantitativeValue", "value": 66.0, "unitText": "nm"}


def test_coverage_is_that_of_the_scenes(genuine: Path, opened: xr.Dataset) -> None:
    document = json.loads(genuine.read_text())
    south, west, north, east = map(float, document["spatialCoverage"]["geo"]["box"].split())  # schema.org's order
    bounds = [float(opened[name].min()) for name in ("lat_min", "lon_min")]
    bounds += [float(opened[name].max()) for name in ("lat_max", "lon_max")]
    np.testing.assert_allclose([south, west, north, east], bounds, atol=1e-4)
    first, last = document["temporalCoverage"].split("/")
    times = np.sort(opened["time"].values)
    assert [np.datetime64(first.rstrip("Z")), np.datetime64(last.rstrip("Z"))] == [times[0], times[-1]]


def test_no_place_is_claimed_where_none_is_known(catalogue: xr.Dataset, store: Path, tmp_path: Path) -> None:
    nowhere = catalogue.assign_coords(x_origin=("scene", np.full(10, np.nan)))
    path = _described(nowhere, store, tmp_path)
    assert "spatialCoverage" not in json.loads(path.read_text())
    assert len(list(mlcroissant.Dataset(jsonld=str(path)).records("scenes"))) == 10


def test_the_authors_are_named_one_by_one(dataset: mlcroissant.Dataset) -> None:
    metadata = dataset.metadata
    assert [creator.name for creator in metadata.creators] == [
        *("Alistair Francis", "John Mrziglod", "Panagiotis Sidiropoulos", "Jan-Peter Muller"),
    ]
    assert metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert metadata.url == "https://doi.org/10.5281/zenodo.4172871"
    assert "Zenodo" in metadata.cite_as


def test_synthetic_data_claims_nothing(opened: xr.Dataset, store: Path, tmp_path: Path) -> None:
    path = _described(opened, store, tmp_path)
    found = mlcroissant.Dataset(jsonld=str(path)).metadata
    assert found.name.startswith("Synthetic")
    missing = {line.split('"')[1].rpartition("/")[2] for line in found.ctx.issues.warnings}
    assert missing == {"citeAs", "datePublished", "license"}  # recommended, but there is nothing to say
    assert not _claims(json.loads(path.read_text()))


def _claims(document: dict[str, Any]) -> list[str]:
    text = json.dumps(document)
    return [word for word in ("zenodo", "Francis", "CC-BY", "samplingStrategy") if word in text]


def test_claims_are_found_where_there_are_some(genuine: Path) -> None:
    assert len(_claims(json.loads(genuine.read_text()))) == 4
    assert (None, URIRef("https://schema.org/license"), None) in _graph(genuine)
