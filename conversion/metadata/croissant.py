"""Croissant 1.1 description of a store, with its geospatial part, as JSON-LD.

Croissant (http://mlcommons.org/croissant/1.1) describes files and the records in them, GeoCroissant
(http://mlcommons.org/croissant/geo/1.0) adds place, resolution and bands. The records are the rows of the footprints
file. Croissant cannot read Zarr, so the description names the root document of the store, with its checksum; xarray
opens the folder of that document. GeoCroissant has one CRS for a dataset, which is that of the footprints; the field
``epsg`` is the CRS of the pixels of each scene.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s2cmc.schema import BANDS, PIXEL_SIZE, SCENE_COORDINATES, SPLITS, MaskClass, SceneCoordinate
from s2cmc.store import ROOT

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from geopandas import GeoDataFrame

_PUBLISHED = "2020"  # year of the record, as the citation has it
_LANGUAGE = {"@container": "@language"}
_AS_JSON = {"@type": "@json"}
_TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "geocr": "http://mlcommons.org/croissant/geo/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", **_AS_JSON},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": _LANGUAGE,
    "examples": {"@id": "cr:examples", **_AS_JSON},
    "name": _LANGUAGE,
    **{term: f"cr:{term}" for term in _TERMS},
}
"""Context of Croissant 1.1 (its appendix 1), which tools compare, and the prefix of GeoCroissant."""

_SPLIT_TYPES = {"train": "cr:TrainingSplit", "test": "cr:TestSplit"}
_DATA_TYPES = {"b": "sc:Boolean", "M": "sc:DateTime", "U": "sc:Text", "O": "sc:Text"}


def make_croissant(
    catalogue: "xr.Dataset", footprints: "GeoDataFrame", table: tuple[str, bytes], store: str, root: bytes
) -> dict[str, Any]:
    """Make the description of a store.

    Parameters
    ----------
    catalogue : Dataset
    footprints : GeoDataFrame
        Footprints of its scenes.
    table : (str, bytes)
        The footprints file: its path from the description, and its content.
    store : str
        URL of the store, or its path from the description.
    root : bytes
        Root document of the store.

    Returns
    -------
    dict
        JSON-LD. For a synthetic store it has no licence, DOI or date, though Croissant recommends them.
    """
    facts = catalogue.attrs
    times = sorted(catalogue["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_numpy().tolist())
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"],
        "name": facts["title"],
        "description": facts["summary"],
        "keywords": keywords_of(facts),
        "version": facts["format_version"],
        **_claims(facts),
        "temporalCoverage": f"{times[0]}/{times[-1]}",
        **_place(footprints),
        **_bands(),
        "distribution": [
            _file("footprints", *table, "application/x-parquet", "One row for each scene: footprint and coordinates."),
            _file(
                "store",
                f"{store}/{ROOT}",
                root,
                "application/json",
                "Root document of the Zarr store. Open the folder that holds it with s2cmc or xarray.",
            ),
        ],
        "recordSet": [_classes(), _parts(), _scenes(catalogue)],
    }


def keywords_of(facts: Mapping[str, Any]) -> list[str]:
    """Return the keywords of a store, whose attributes have them as one text."""
    return [word.strip() for word in facts.get("keywords", "").split(",") if word.strip()]


def _claims(facts: dict[str, Any]) -> dict[str, Any]:
    """Return creators, licence and citation of a store."""
    if facts.get("synthetic"):
        return {"creator": {"@type": "sc:Organization", "name": facts["creator_name"]}}
    return {
        "creator": [{"@type": "sc:Person", "name": name} for name in facts["creator_name"].split(", ")],
        "license": f"https://spdx.org/licenses/{facts['license']}.html",
        "url": f"https://doi.org/{facts['doi']}",
        "citeAs": facts["citation"],
        "datePublished": _PUBLISHED,
        "geocr:samplingStrategy": "Windows of products drawn at random from all of Sentinel-2 Level-1C of 2018.",
    }


def _place(footprints: "GeoDataFrame") -> dict[str, Any]:
    place: dict[str, Any] = {
        "geocr:coordinateReferenceSystem": "EPSG:4326",
        "geocr:spatialResolution": _quantity(PIXEL_SIZE, "m"),
    }
    if footprints.geometry.notna().any():
        west, south, east, north = footprints.total_bounds.round(7).tolist()
        box = {"@type": "GeoShape", "box": f"{south} {west} {north} {east}"}
        place["spatialCoverage"] = {"@type": "Place", "geo": box}
    return place


def _bands() -> dict[str, Any]:
    return {
        "geocr:bandConfiguration": {
            "@type": "geocr:BandConfiguration",
            "geocr:totalBands": len(BANDS),
            "geocr:bandNameList": [band.name for band in BANDS],
        },
        "geocr:spectralBandMetadata": [
            {
                "@type": "geocr:SpectralBand",
                "name": band.name,
                "geocr:centerWavelength": _quantity(band.wavelength, "nm"),
                "geocr:bandwidth": _quantity(band.bandwidth, "nm"),
            }
            for band in BANDS
        ],
    }


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"@type": "QuantitativeValue", "value": value, "unitText": unit}


def _file(name: str, url: str, content: bytes, encoding: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": url.rpartition("/")[2],
        "description": description,
        "contentUrl": url,
        "contentSize": f"{len(content)} B",
        "encodingFormat": encoding,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _classes() -> dict[str, Any]:
    rows = [{"mask_classes/value": int(c), "mask_classes/name": c.label} for c in MaskClass]
    fields = {
        "value": ("sc:Integer", "Value of a pixel of mask and alt_mask. From 240 on, a pixel has no label."),
        "name": ("sc:Text", "What it means."),
    }
    return _inline("mask_classes", "Classes of the masks.", "value", fields, rows) | {"dataType": "sc:Enumeration"}


def _parts() -> dict[str, Any]:
    rows = [
        {"parts/dataset": part, "parts/split": split, "parts/url": _SPLIT_TYPES[split]}
        for split, parts in SPLITS.items()
        for part in parts
    ]
    fields = {
        "dataset": ("sc:Text", "Part of the catalogue."),
        "split": ("sc:Text", "Split it belongs to, as the catalogue's authors advise."),
        "url": ("sc:URL", "What Croissant calls such a split."),
    }
    return _inline("parts", "Parts of the catalogue, and splits.", "dataset", fields, rows) | {"dataType": "cr:Split"}


def _inline(
    name: str, description: str, key: str, fields: dict[str, tuple[str, str]], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Make a record set that holds its own records."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/{key}"},
        "field": [_field(name, field, kind, text) for field, (kind, text) in fields.items()],
        "data": rows,
    }


def _scenes(catalogue: "xr.Dataset") -> dict[str, Any]:
    described = {c.name: c for c in SCENE_COORDINATES}
    own = [
        SceneCoordinate(str(name), str(c.dtype), str(c.attrs.get("long_name", name)))
        for name, c in catalogue.coords.items()
        if c.dims == ("scene",) and name not in described
    ]
    known = [c for c in described.values() if c.name in catalogue.coords]
    fields = [_column(c, catalogue[c.name].dtype) for c in (*known, *own)]
    for field in fields:
        if field["name"] == "dataset":
            field["references"] = {"field": {"@id": "parts/dataset"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "scenes",
        "name": "scenes",
        "description": "The scenes of the store. The outline of each is the column geometry of the file, as WKB.",
        "key": {"@id": "scenes/scene"},
        "field": fields,
    }


def _column(coordinate: SceneCoordinate, dtype: "np.dtype[Any]") -> dict[str, Any]:
    integer = f"cr:{'U' if dtype.kind == 'u' else ''}Int{8 * dtype.itemsize}"
    kind = _DATA_TYPES.get(dtype.kind) or (integer if dtype.kind in "iu" else f"cr:Float{8 * dtype.itemsize}")
    unit = f" ({coordinate.units})" if coordinate.units not in (None, "1") else ""
    text = coordinate.tag.description if coordinate.tag else coordinate.long_name
    return _field("scenes", coordinate.name, kind, f"{text}{unit}") | {
        "source": {"fileObject": {"@id": "footprints"}, "extract": {"column": coordinate.name}}
    }


def _field(records: str, name: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
    }
