"""Files that say, or inflate to, far more than they are; ``python -m helpers.bombs FOLDER`` reads them.

It is a process of its own, of which each line tells how many bytes more than before the process has had at most.
"""

import io
import json
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ZEROS = 120_000_000
"""Bytes that a bomb inflates to."""
SPARSE = 6_000_000_000
"""Bytes of a file that takes no room."""
SIZE = 64


def header(shape: str, dtype: str = "<f4") -> bytes:
    """Header of an npy."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def png(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = zlib.compress(bytes(min((width // 8 + 1) * height, 10_000_000)), 1)
    start = chunk(b"IHDR", struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def inflating(path: Path, name: str, begin: bytes) -> None:
    """A zip of one member, which begins so and goes on with zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        member.write(begin)
        for _ in range(ZEROS // 10_000_000):
            member.write(bytes(10_000_000))


def sparse(path: Path, begin: bytes) -> None:
    """A file that begins so and goes on with zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(SPARSE)


def _scene(release: Path) -> str:
    return min((release / "masks").iterdir()).stem


def _in_zip(part: str, begin: bytes) -> Callable[[Path], object]:
    """Another part of the release, of which one member inflates to far more."""

    def plant(release: Path) -> None:
        files = {path.name: path.read_bytes() for path in sorted((release / part).iterdir())}
        for path in (release / part).iterdir():
            path.unlink()
        inflating(release / f"{part}.zip", f"{part}/{min(files)}", begin)
        with zipfile.ZipFile(release / f"{part}.zip", "a") as archive:
            for name in sorted(files)[1:]:
                archive.writestr(f"{part}/{name}", files[name])

    return plant


def _npz(begin: bytes) -> Callable[[Path], object]:
    def plant(release: Path) -> None:
        scene = _scene(release)
        (release / "masks" / f"{scene}.npy").unlink()
        inflating(release / "masks" / f"{scene}.npz", "arr_0.npy", begin)

    return plant


def _file(name: str, begin: bytes) -> Callable[[Path], object]:
    return lambda release: sparse(release / name.format(_scene(release)), begin)


def _thumbnail(content: bytes) -> Callable[[Path], object]:
    return lambda release: (release / "thumbnails" / f"{_scene(release)}.png").write_bytes(content)


BOMBS: dict[str, Callable[[Path], object]] = {
    "subscene that goes on": _in_zip("subscenes", header(f"({SIZE}, {SIZE}, 13)")),
    "subscene of many pixels": _in_zip("subscenes", header("(2500, 2500, 13)")),
    "mask that goes on": _in_zip("masks", header(f"({SIZE}, {SIZE}, 3)", "|b1")),
    "mask of many pixels": _in_zip("masks", header(f"({ZEROS},)", "|b1")),
    "mask in an npz that goes on": _npz(header(f"({SIZE}, {SIZE}, 3)", "|b1")),
    "mask in an npz of many pixels": _npz(header(f"({ZEROS // 3}, 1, 3)", "|b1")),
    "mask of a long header": _file("masks/{}.npy", b"\x93NUMPY\x02\x00\xf0\xff\xff\xff"),
    "sparse npz": _file("masks/{}.npy", b"PK\x03\x04"),
    "sparse table": _file("classification_tags.csv", b"scene,"),
    "table of many columns": lambda release: (release / "classification_tags.csv").write_bytes(b"a," * 7_500_000),
    "table of many short lines": lambda release: (release / "classification_tags.csv").write_bytes(
        (release / "classification_tags.csv").read_bytes().splitlines()[0] + (b"\n" + b"," * 32) * 150_000
    ),
    "sparse outline": _file("shapefiles/{0}/{0}.shp", b"\0\0\x27\x0a"),
    "sparse .prj": _file("shapefiles/{0}/{0}.prj", b"PROJCS["),
    "sparse PNG": _file("thumbnails/{}.png", b"\x89PNG\r\n\x1a\n"),
    "PNG of many pixels": _thumbnail(png(60_000, 60_000)),
    "PNG of more pixels than it has": _thumbnail(png(2_000_000_000, 2_000_000_000)),
    "zip in a sparse file": _file("masks.zip", b"PK\x03\x04"),
}


def refused(release: Path, store: Path) -> str:
    """Why a release is not converted, and that no store opens then; or why its thumbnails are left out."""
    import s2cmc
    from s2cmc.conversion.convert.conversion import convert
    from s2cmc.errors import CatalogueError, StoreError

    try:
        report = convert(str(release), str(store), workers=1)
    except CatalogueError as error:
        try:
            s2cmc.open_catalogue(store)
        except StoreError:
            return str(error)
        return "refused, and yet it opens"
    return "; ".join(map(str, report.oddities.get("absent_thumbnail", {}).values()))


def uncounted(path: Path, store: Path) -> str:
    """Why predictions are not counted."""
    import s2cmc
    from s2cmc.errors import CatalogueError

    try:
        s2cmc.open_catalogue(store).clouds.confusion(path).compute(scheduler="synchronous")
    except CatalogueError as error:
        return str(error)
    return ""


def _predictions(folder: Path, scenes: list[str]) -> Iterator[tuple[str, Path]]:
    """Predictions of which the first is a bomb."""
    flat = io.BytesIO()
    np.save(flat, np.zeros((SIZE, SIZE), "uint8"))
    begin = header(f"({SIZE}, {SIZE})", "|u1")
    for name in ("npz that goes on", "npz of many pixels", "sparse npy", "sparse GeoTIFF", "zip", "sparse zip"):
        path = folder / name
        path.mkdir(parents=True)
        for scene in scenes[1:]:
            (path / f"{scene}.npy").write_bytes(flat.getvalue())
        match name:
            case "npz that goes on":
                inflating(path / f"{scenes[0]}.npz", "arr_0.npy", begin)
            case "npz of many pixels":
                inflating(path / f"{scenes[0]}.npz", "arr_0.npy", header(f"({ZEROS},)", "|u1"))
            case "sparse npy":
                sparse(path / f"{scenes[0]}.npy", begin)
            case "sparse GeoTIFF":
                sparse(path / f"{scenes[0]}.tif", b"II*\0")
            case "zip":
                path = path / "p.zip"
                inflating(path, f"{scenes[0]}.npy", begin)
                with zipfile.ZipFile(path, "a") as archive:
                    for scene in scenes[1:]:
                        archive.writestr(f"{scene}.npy", flat.getvalue())
            case "sparse zip":
                path = path / "p.zip"
                sparse(path, b"PK\x03\x04")
        yield name, path


def main() -> None:
    """Explode all of them."""
    from s2cmc.synthetic.make import make_release

    folder = Path(sys.argv[1])
    whole, store = folder / "whole", folder / "whole.zarr"
    make_release(whole, scenes=3, size=SIZE, layout="folder")
    scenes = sorted(path.stem for path in (whole / "masks").iterdir())
    refused(whole, store)  # what this takes, and the imports, is not counted
    uncounted(next(_predictions(folder / "before", scenes))[1], store)
    _tell("whole release", lambda: refused(whole, folder / "again.zarr"))
    for name, plant in BOMBS.items():
        release = folder / name
        make_release(release, scenes=3, size=SIZE, layout="folder")
        plant(release)
        _tell(name, lambda release=release, name=name: refused(release, folder / f"{name}.zarr"))
    for name, path in _predictions(folder / "predictions", scenes):
        _tell(f"prediction: {name}", lambda path=path: uncounted(path, store))


def _tell(name: str, explode: Callable[[], str]) -> None:
    before, began = _peak(), time.monotonic()
    reason = explode()
    found = {"name": name, "reason": reason, "nbytes": _peak() - before, "seconds": time.monotonic() - began}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
