"""Upper bounds on untrusted files; larger files are refused before memory is allocated.

For comparison, the published release: scenes of 1022 x 1022 pixels, a table of 78 kB, outlines of 0.6 kB, thumbnails of
about 0.3 MB, and zips whose largest directory has 0.5 MB.
"""

SIDE = 2_048
"""Pixels in height and in width of a scene or a thumbnail."""

ARRAY_BYTES = SIDE * SIDE * 13 * 4
"""Bytes of the values of one array: a scene of 13 bands of float32."""

FILE_BYTES = ARRAY_BYTES + 1_000_000
"""Bytes of a file that holds one array."""

THUMBNAIL_BYTES = 4 * SIDE * SIDE
"""Bytes of a PNG."""

OUTLINE_BYTES = 1_000_000
"""Bytes of each file of a shapefile."""

TABLE_BYTES = 16_000_000
"""Bytes of the table: a hundred thousand scenes."""

DIRECTORY_BYTES = 16_000_000
"""Bytes of the directory of a zip."""
