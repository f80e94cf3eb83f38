"""The published layout of a release: names of its files, and a writer of releases (sample data, restore)."""

import io
import shutil
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import pandas as pd

from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.schema import Outline

TABLE_FILE = "classification_tags.csv"
PARTS = ("subscenes", "masks", "alt_masks", "shapefiles", "thumbnails")
"""Each part is a zip with one top folder of its own name, or that folder itself."""

SYNTHETIC_FILE = "SYNTHETIC.txt"
SYNTHETIC_TEXT = "Synthetic data in the layout of the Sentinel-2 Cloud Mask Catalogue: no pixel here was measured.\n"

ALT_PREFIX = "ALT_"
SHAPEFILE_SUFFIXES = (".cpg", ".dbf", ".prj", ".shp", ".shx")

Layout = Literal["zip", "folder"]
ArrayFormat = Literal["npy", "npz"]

_UNDATED = bytes([80, 1, 1])  # 1980-01-01, as NumPy dates the members of an npz


def array_path(part: str, scene: str, arrays: ArrayFormat) -> str:
    """Return the path in a release of the array of a scene in one of its parts."""
    return f"{part}/{ALT_PREFIX if part == 'alt_masks' else ''}{scene}.{arrays}"


def thumbnail_path(scene: str) -> str:
    """Return the path in a release of the thumbnail of a scene."""
    return f"thumbnails/{scene}.png"


def outline_path(scene: str, suffix: str) -> str:
    """Return the path in a release of a file of an outline; `suffix` is one of `SHAPEFILE_SUFFIXES`."""
    return f"shapefiles/{scene}/{scene}{suffix}"


def encode_array(array: np.ndarray, arrays: ArrayFormat) -> bytes:
    """Encode an array as the bytes of a file."""
    buffer = io.BytesIO()
    if arrays == "npz":
        np.savez_compressed(buffer, array)
    else:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def encode_thumbnail(rgb: np.ndarray) -> bytes:
    """Encode a thumbnail (y, x, rgb), uint8, as PNG."""
    from PIL import Image  # imported in the function: Pillow comes with the `convert` extra

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def encode_outline(outline: Outline) -> dict[str, bytes]:
    """Encode an outline as the files of a shapefile of one polygon, by suffix.

    The ``.shp`` and the ``.prj`` have the bytes of the published files; the others are not known byte for byte. No byte
    depends on the date.
    """
    import shapefile  # imported in the function: pyshp comes with the `convert` extra

    buffers = {suffix: io.BytesIO() for suffix in (".shp", ".shx", ".dbf")}
    with shapefile.Writer(**{suffix[1:]: buffer for suffix, buffer in buffers.items()}) as writer:
        writer.field("FID", "N", 9)
        writer.poly([outline.ring()])
        writer.record(0)
    contents = {suffix: buffer.getvalue() for suffix, buffer in buffers.items()}
    contents[".dbf"] = contents[".dbf"][:1] + _UNDATED + contents[".dbf"][4:]  # pyshp writes today's date
    contents[".prj"] = _encode_crs(outline.epsg).encode()
    contents[".cpg"] = b"UTF-8"
    return contents


# The published .prj, whose writer is not known: PROJ and GDAL write other numbers and another order of parameters.
_UTM = (
    'PROJCS["WGS_1984_UTM_Zone_{zone}{hemisphere}",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",'
    'SPHEROID["WGS_1984",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["Degree",0.017453292519943295]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",{meridian}],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",{northing}],'
    'UNIT["Meter",1]]'
)


def _encode_crs(epsg: int) -> str:
    """Return the published text of a UTM zone on WGS 84: EPSG:32601 to 32660 in the north, 32701 to 32760 in the south.

    It is derived from three published files (46N, 20N, 37S).
    """
    southern, zone = epsg // 100 == 327, epsg % 100
    return _UTM.format(
        zone=zone,
        hemisphere="S" if southern else "N",
        meridian=6 * zone - 183,  # of the middle of a zone of 6 degrees; zone 1 begins at 180 degrees west
        northing=10_000_000 if southern else 0,
    )


def encode_table(table: pd.DataFrame) -> bytes:
    """Encode the table as CSV; booleans as 0 and 1, as published."""
    flags = table.select_dtypes("bool").columns
    return table.astype(dict.fromkeys(flags, "int64")).to_csv(index=False, lineterminator="\n").encode()


class ReleaseWriter:
    """Writer of a release, file by file; a context manager that removes everything again after an error.

    Parameters
    ----------
    out : Path
        Folder of the release; made if absent, refused if it holds anything.
    layout : {"zip", "folder"}
        One zip for each part, as published, or folders.
    arrays : {"npy", "npz"}
        Format of the arrays. The published zips hold npy.

    Raises
    ------
    ReleaseError
        If `out` is not an empty folder.
    """

    def __init__(self, out: Path, *, layout: Layout = "zip", arrays: ArrayFormat = "npy") -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ReleaseError(f"{out} exists and is not an empty folder; choose another place, or empty it first")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReleaseError(f"{out} cannot be made: {error}") from error
        self._out, self._layout, self._arrays = out, layout, arrays
        self._zips: dict[str, zipfile.ZipFile] = {}

    def __enter__(self) -> "ReleaseWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for archive in self._zips.values():
                archive.close()
        except (OSError, ValueError) as reason:  # a full disk; a member that could not be written to its end
            shutil.rmtree(self._out, ignore_errors=True)
            if error is None:
                raise ReleaseError(f"{self._out} cannot be written: {reason}; nothing was left there") from reason
        if error is not None:
            # The folder was empty before, and half a release looks like a whole one.
            shutil.rmtree(self._out, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, CatalogueError):
                raise ReleaseError(f"{self._out} cannot be written: {error}; nothing was left there") from error

    def add(self, path: str, content: bytes) -> None:
        """Add a file by its path in the release, e.g. ``masks/SCENE.npy``."""
        if self._layout == "folder":
            file = self._out / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            return
        part, _, _ = path.partition("/")
        folder = path.rpartition("/")[0]
        if f"{folder}/" not in self._zip(part).NameToInfo:
            self._zip(part).mkdir(folder)  # the published zips have an entry for every folder
        with self._zip(part).open(path, "w") as member:
            member.write(content)

    def add_subscene(self, scene: str, reflectance: np.ndarray) -> None:
        """Add the reflectance (y, x, band) of a scene, float32."""
        self._add_array("subscenes", scene, reflectance)

    def add_mask(self, scene: str, one_hot: np.ndarray) -> None:
        """Add the one-hot mask (y, x, class) of a scene."""
        self._add_array("masks", scene, one_hot)

    def add_alt_mask(self, scene: str, one_hot: np.ndarray) -> None:
        """Add the other annotator's one-hot mask (y, x, class) of a scene."""
        self._add_array("alt_masks", scene, one_hot)

    def add_thumbnail(self, scene: str, rgb: np.ndarray) -> None:
        """Add the thumbnail (y, x, rgb) of a scene, uint8, as PNG."""
        self.add(thumbnail_path(scene), encode_thumbnail(rgb))

    def add_outline(self, scene: str, outline: Outline) -> None:
        """Add the outline of a scene as a shapefile of one polygon."""
        contents = encode_outline(outline)
        for suffix in SHAPEFILE_SUFFIXES:
            self.add(outline_path(scene, suffix), contents[suffix])

    def write_table(self, table: pd.DataFrame) -> None:
        """Write the table; booleans as 0 and 1, as published."""
        (self._out / TABLE_FILE).write_bytes(encode_table(table))

    def mark_synthetic(self) -> None:
        """Mark the release as synthetic; a store converted from it is marked too."""
        (self._out / SYNTHETIC_FILE).write_text(SYNTHETIC_TEXT, encoding="utf-8")

    def _add_array(self, part: str, scene: str, array: np.ndarray) -> None:
        self.add(array_path(part, scene, self._arrays), encode_array(array, self._arrays))

    def _zip(self, part: str) -> zipfile.ZipFile:
        if part not in self._zips:
            self._zips[part] = zipfile.ZipFile(self._out / f"{part}.zip", "w", zipfile.ZIP_DEFLATED)
            self._zips[part].mkdir(part)
        return self._zips[part]
