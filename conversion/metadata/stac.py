"""A STAC 1.1 Collection of a store, and an Item for each of its scenes, whose assets point into the store.

An Item points at one scene of arrays that hold all scenes. After the best practices for Zarr in STAC
(https://eoap.github.io/zarr-cloud-native-format/compliance/stac-zarr-best-practices) an asset is a Zarr group, not an
array or an object of one, and its ``bands`` name the content. So all assets of an Item have the store as their
``href``; ``s2cmc:variable`` names the array, the ID of the Item is the label of the scene on dimension ``scene``, and
``s2cmc:position`` is its index for readers without labels::

    asset = item.assets["mask"]
    xr.open_zarr(asset.get_absolute_href())[asset.extra_fields["s2cmc:variable"]].sel(scene=item.id)

The `zarr` extension says how the group is opened; it replaces `xarray-assets`, which is deprecated. The `label`
extension is of maturity "pilot" and no longer maintained, but no other says how labels were made; `classification` says
what the pixels mean. PySTAC has no classes for the current versions of several of these extensions, so their fields are
written under their own names.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

import antimeridian
import pandas as pd
import shapely

from s2cmc.errors import CatalogueError
from s2cmc.schema import (
    BANDS,
    CLASS_NAMES,
    MASK_MISSING,
    MASK_NOT_ONE_HOT,
    PIXEL_SIZE,
    SPLITS,
    TAG_NAMES,
    MaskClass,
    Outline,
    bands_of,
    outlines,
)

from .croissant import keywords_of

if TYPE_CHECKING:
    import pystac
    import xarray as xr
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

ZARR = "application/vnd.zarr; version=3"
PARQUET = "application/vnd.apache.parquet"
CROISSANT = 'application/ld+json; profile="http://mlcommons.org/croissant/1.1"'

_VERSIONS = {
    "classification": "v2.0.0",
    "eo": "v2.0.0",
    "grid": "v1.1.0",
    "label": "v1.0.1",
    "processing": "v1.2.0",
    "projection": "v2.0.0",
    "sat": "v1.0.0",
    "scientific": "v1.0.0",
    "zarr": "v1.1.0",
}
_GROUP = {"zarr:node_type": "group", "zarr:zarr_format": 3, "zarr:consolidated": True}
_OWN = ("difficulty", "dataset", "annotator", "shadows_marked", "has_alt_mask", "group")
PART = "part"
"""Attribute by which a smaller store differs from the whole catalogue, and from other parts of it."""

_DIGITS = 7  # decimals of a degree, 1 cm

_CLASSES = [
    *({"value": int(c), "name": c.label} for c in MaskClass),
    *(
        {"value": MASK_NOT_ONE_HOT + bits, "name": f"not_one_hot_{bits}", "nodata": True}
        for bits in range(8)
        if bits.bit_count() != 1
    ),
    {"value": MASK_MISSING, "name": "no_label", "nodata": True},
]
_LABELS = {
    "label:type": "raster",
    "label:properties": None,
    "label:classes": [{"name": None, "classes": list(CLASS_NAMES)}],
    "label:tasks": ["segmentation"],
    # Drawn with IRIS, which learns from the annotator's strokes and proposes the rest (description of the record).
    "label:methods": ["manual", "automated"],
    "label:description": "Clear, cloud and cloud shadow of every pixel. Where s2cmc:shadows_marked is false, clear may "
    "hide shadow.",
}
_SYNTHETIC = {
    "title": "Synthetic scene; nothing was measured",
    "s2cmc:synthetic": True,
    "label:methods": ["automated"],
    "label:description": "Made-up labels of a made-up scene.",
}


def require_pystac() -> None:
    """Raise a CatalogueError that says what to install, if pystac is not there."""
    try:
        import pystac  # noqa: F401
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[convert,geo]'") from error


def make_collection(
    catalogue: "xr.Dataset", footprints: "GeoDataFrame", store: str, files: Mapping[str, str]
) -> "pystac.Collection":
    """Make the Collection of a store.

    Parameters
    ----------
    catalogue : Dataset
    footprints : GeoDataFrame
        Footprints of its scenes.
    store : str
        URL of the store, or its path from the Collection.
    files : mapping of str to str
        Media type of the other files that describe the store, by their path from the Collection.

    Returns
    -------
    pystac.Collection
        Links and assets are relative, and stay valid if all files are moved together.
    """
    import pystac

    facts = catalogue.attrs
    times = pd.to_datetime(catalogue["time"].to_numpy()).sort_values().tz_localize(UTC).to_pydatetime()
    collection = pystac.Collection(
        id=_collection_id(catalogue),
        title=facts["title"],
        description=facts["summary"],
        license=facts.get("license", "other"),
        keywords=keywords_of(facts),
        providers=_providers(catalogue),
        extent=pystac.Extent(
            pystac.SpatialExtent([_bounds(footprints)]), pystac.TemporalExtent([[times[0], times[-1]]])
        ),
        stac_extensions=_extensions(
            "classification", "eo", "projection", "zarr", *(["scientific"] if "doi" in facts else [])
        ),
        summaries=pystac.Summaries(_summaries(catalogue)),
        assets={"store": pystac.Asset(store, "all scenes as one Zarr group", None, ZARR, ["data"], _GROUP)},
        extra_fields={"item_assets": _item_assets(_bands())},
    )
    for path, kind in files.items():
        collection.add_asset(path.partition(".")[0], pystac.Asset(f"./{path}", media_type=kind, roles=["metadata"]))
    collection.clear_links()
    collection.add_link(pystac.Link("root", "./collection.json", pystac.MediaType.JSON))
    collection.add_link(pystac.Link("store", store, ZARR))
    if "doi" in facts:
        collection.extra_fields |= {"sci:doi": facts["doi"], "sci:citation": facts["citation"]}
        collection.add_link(pystac.Link("cite-as", f"https://doi.org/{facts['doi']}"))
    for name in catalogue["scene"].to_numpy():
        collection.add_link(pystac.Link("item", f"./items/{name}.json", pystac.MediaType.GEOJSON))
    return collection


def make_items(catalogue: "xr.Dataset", footprints: "GeoDataFrame", store: str) -> "Iterator[pystac.Item]":
    """Yield the Items of all scenes, in the order of the store.

    Parameters
    ----------
    catalogue : Dataset
    footprints : GeoDataFrame
        Footprints of its scenes, in their order.
    store : str
        URL of the store, or its path from an Item.
    """
    import pystac

    collection = _collection_id(catalogue)
    size = catalogue.sizes["y"], catalogue.sizes["x"]
    rows = footprints.reset_index().to_dict("records")
    for position, (row, outline) in enumerate(zip(rows, outlines(catalogue), strict=True)):
        geometry = row["geometry"]
        item = pystac.Item(
            id=row["scene"],
            geometry=None if geometry is None else shapely.geometry.mapping(_round_points(geometry)),
            bbox=None if geometry is None else list(antimeridian.bbox(_round_points(geometry))),
            datetime=row["time"].to_pydatetime().replace(tzinfo=UTC),
            properties=_properties(row, position, size)
            | ({} if outline is None else _projection(outline, size))
            | (_SYNTHETIC if catalogue.attrs.get("synthetic") else {}),
            stac_extensions=_extensions(
                *("classification", "eo", "grid", "label", "processing", "sat", "zarr"),
                *([] if outline is None else ["projection"]),
            ),
            assets=_assets(store, row["platform"], has_alt_mask=row["has_alt_mask"]),
            collection=collection,
        )
        item.add_link(pystac.Link("root", "../collection.json", pystac.MediaType.JSON))
        item.add_link(pystac.Link("parent", "../collection.json", pystac.MediaType.JSON))
        item.add_link(pystac.Link("collection", "../collection.json", pystac.MediaType.JSON))
        item.add_link(pystac.Link("store", store, ZARR))
        yield item


def _extensions(*names: str) -> list[str]:
    return [f"https://stac-extensions.github.io/{name}/{_VERSIONS[name]}/schema.json" for name in names]


def _collection_id(catalogue: "xr.Dataset") -> str:
    name = "sentinel-2-cloud-mask-catalogue"
    part = f"-{catalogue.attrs[PART]}" if PART in catalogue.attrs else ""
    return f"{'synthetic-' if catalogue.attrs.get('synthetic') else ''}{name}{part}"


def _providers(catalogue: "xr.Dataset") -> "list[pystac.Provider]":
    import pystac

    facts, roles = catalogue.attrs, pystac.ProviderRole
    creators = [pystac.Provider(name, roles=[roles.PRODUCER]) for name in facts["creator_name"].split(", ")]
    if facts.get("synthetic"):
        return creators
    esa = pystac.Provider("European Space Agency", facts["source"], [roles.PRODUCER], "https://sentinels.copernicus.eu")
    return [*creators, esa]


def _summaries(catalogue: "xr.Dataset") -> dict[str, Any]:
    covers = catalogue["mask_cloud_percent"].to_numpy()
    known = [outline.epsg for outline in outlines(catalogue) if outline is not None]
    return {
        "platform": sorted({str(name).lower() for name in catalogue["platform"].to_numpy()}),
        "constellation": ["sentinel-2"],
        "instruments": ["msi"],
        "gsd": [PIXEL_SIZE],
        "eo:cloud_cover": {"minimum": float(covers.min()), "maximum": float(covers.max())},
        "proj:code": [f"EPSG:{epsg}" for epsg in sorted(set(known))],
        "s2cmc:tags": [name for name in TAG_NAMES if catalogue[name].any()],
        "s2cmc:difficulty": sorted({int(n) for n in catalogue["difficulty"].to_numpy()}),
        "s2cmc:dataset": sorted({str(name) for name in catalogue["dataset"].to_numpy()}),
    }


def _properties(row: Mapping[Any, Any], position: int, size: tuple[int, int]) -> dict[str, Any]:
    pixels = size[0] * size[1]
    percents = [row[f"mask_{name}_percent"] for name in ("clear", "cloud", "shadow")]
    counts = [{"name": n, "count": round(p * pixels / 100)} for n, p in zip(CLASS_NAMES, percents, strict=True)]
    return _LABELS | {
        "platform": row["platform"].lower(),
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": PIXEL_SIZE,
        "eo:cloud_cover": row["mask_cloud_percent"],
        "grid:code": f"MGRS-{row['mgrs_tile']}",
        "sat:relative_orbit": row["relative_orbit"],
        "processing:level": "L1C",
        "processing:version": row["processing_baseline"],
        "label:overviews": [{"counts": counts}],
        "s2cmc:position": position,
        "s2cmc:split": next(split for split, parts in SPLITS.items() if row["dataset"] in parts),
        "s2cmc:tags": [name for name in TAG_NAMES if row[name]],
        **{f"s2cmc:{name}": row[name] for name in _OWN},
    }


def _projection(outline: Outline, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "proj:code": f"EPSG:{outline.epsg}",
        "proj:shape": list(size),
        "proj:transform": [PIXEL_SIZE, 0.0, outline.left, 0.0, -PIXEL_SIZE, outline.top],
        "proj:bbox": [outline.left, outline.bottom, outline.right, outline.top],
    }


def _assets(store: str, platform: str, *, has_alt_mask: bool) -> "dict[str, pystac.Asset]":
    import pystac

    variables = _item_assets(_bands(platform))
    if not has_alt_mask:
        del variables["alt_mask"]
    return {name: pystac.Asset.from_dict({"href": store, **variable}) for name, variable in variables.items()}


def _bands(platform: str | None = None) -> list[dict[str, Any]]:
    """Return the bands of all scenes; with `platform`, those of its scenes with wavelengths in micrometres."""
    bands: list[dict[str, Any]] = [{"name": band.name, "eo:common_name": band.common_name} for band in BANDS]
    for fields, band in zip(bands, bands_of(platform), strict=True) if platform else ():
        fields["eo:center_wavelength"] = round(band.wavelength / 1000, 6)
        fields["eo:full_width_half_max"] = round(band.bandwidth / 1000, 6)
    return bands


def _item_assets(bands: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    labels = {"type": ZARR, "roles": ["data", "labels"], "data_type": "uint8", "nodata": MASK_MISSING, **_GROUP}
    labels["classification:classes"] = _CLASSES
    return {
        "reflectance": {
            "title": "top-of-atmosphere reflectance, 13 bands",
            "type": ZARR,
            "roles": ["data", "reflectance"],
            "bands": bands,
            "s2cmc:variable": "reflectance",
            **_GROUP,
        },
        "mask": {
            "title": "clear, cloud, cloud shadow",
            "s2cmc:variable": "mask",
            "bands": [{"name": "mask"}],
            **labels,
        },
        "alt_mask": {
            "title": "the same by the other annotator",
            "s2cmc:variable": "alt_mask",
            "bands": [{"name": "alt_mask"}],
            **labels,
        },
    }


def _round_points(geometry: "BaseGeometry") -> "BaseGeometry":
    return shapely.transform(geometry, lambda points: points.round(_DIGITS))


def _bounds(footprints: "GeoDataFrame") -> list[float]:
    """Return the bounds of all footprints; those of the Earth if none is known, as a Collection must have some."""
    if footprints.geometry.isna().all():
        return [-180.0, -90.0, 180.0, 90.0]
    return [round(edge, _DIGITS) for edge in footprints.total_bounds.tolist()]
