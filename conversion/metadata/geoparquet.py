"""GeoParquet file of the footprints and every coordinate of the scenes: one request fetches the whole table.

GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0): geometry as WKB, one row for each scene, one row group. The
column ``bbox`` is a covering in the sense of version 1.1: with it ``geopandas.read_parquet(file, bbox=...)`` and SQL
without spatial functions select by place.
"""

import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

NOTE = b"s2cmc"
"""Key of the file's own metadata that holds title, licence and other facts about the store, as JSON."""


def write_footprints(footprints: "GeoDataFrame", about: dict[str, Any]) -> bytes:
    """Make a GeoParquet file of the footprints; the same table gives the same bytes.

    Parameters
    ----------
    footprints : GeoDataFrame
        Result of `footprints`.
    about : dict
        Facts for the metadata of the file, e.g. title and licence.

    Returns
    -------
    bytes
        Columns ``scene``, those of the table, ``geometry`` and ``bbox``.
    """
    import pyarrow.parquet

    plain = io.BytesIO()
    # Product IDs are a column: as an index, readers other than pandas would not see its name.
    footprints.reset_index().to_parquet(plain, index=False, schema_version="1.1.0", write_covering_bbox=True)
    table = pyarrow.parquet.read_table(plain)
    # Without the metadata of pandas about the same columns: a tenth of the file, and no reader needs them.
    noted = table.replace_schema_metadata({b"geo": table.schema.metadata[b"geo"], NOTE: json.dumps(about).encode()})
    file = io.BytesIO()
    pyarrow.parquet.write_table(
        noted, file, compression="zstd", compression_level=9, row_group_size=max(1, table.num_rows)
    )
    return file.getvalue()
