"""The footprints and every coordinate of the scenes as one GeoParquet file: one request brings the whole table.

GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0): geometry as WKB, one row for each scene, one row group. The
column ``bbox`` is what version 1.1 calls a covering: with it ``geopandas.read_parquet(file, bbox=...)`` and SQL without
spatial functions choose by place.
"""

import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

NOTE = b"s2cmc"
"""Key of the file's own metadata under which it says of what it is, as JSON."""


def write_footprints(footprints: "GeoDataFrame", about: dict[str, Any]) -> bytes:
    """A GeoParquet file of the footprints; the same table gives the same bytes.

    Parameters
    ----------
    footprints : GeoDataFrame
        As ``ds.clouds.footprints()`` gives it.
    about : dict
        What the file says of itself, e.g. title and licence.

    Returns
    -------
    bytes
        Columns ``scene``, those of the table, ``geometry`` and ``bbox``.
    """
    import pyarrow.parquet

    plain = io.BytesIO()
    # With the product IDs as a column: as an index, other readers than pandas would not see their name.
    footprints.reset_index().to_parquet(plain, index=False, schema_version="1.1.0", write_covering_bbox=True)
    table = pyarrow.parquet.read_table(plain)
    # Without what pandas says of the same columns: it is a tenth of the file, and no reader needs it.
    noted = table.replace_schema_metadata({b"geo": table.schema.metadata[b"geo"], NOTE: json.dumps(about).encode()})
    file = io.BytesIO()
    pyarrow.parquet.write_table(
        noted, file, compression="zstd", compression_level=9, row_group_size=max(1, table.num_rows)
    )
    return file.getvalue()
